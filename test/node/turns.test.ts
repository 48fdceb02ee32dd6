import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createLogger } from '../../src/log.js';
import { Ledger } from '../../src/node/ledger.js';
import { NO_PROGRESS, type PendingOperation } from '../../src/node/operation.js';
import { Interrupted, LiveOperation, ResourceQueues } from '../../src/node/resource-queues.js';
import { Turns } from '../../src/node/turns.js';
import { eventually } from '../support/eventually.js';
import { temporaryDirectory } from '../support/guard.js';

const log = createLogger('test');
let directory: ReturnType<typeof temporaryDirectory>;
let ledger: Ledger;
let turns: Turns;
/** What runs now, and most of it at a time, as the effects themselves count. */
let running: Map<string, () => void>;
let most: number;
let queues: ResourceQueues;

beforeEach(() => {
  directory = temporaryDirectory('turns');
  open();
});
afterEach(async () => {
  for (const end of running.values()) end();
  await queues.stop();
  await ledger.close();
  await directory.remove();
});

function open(): void {
  ledger = new Ledger({ path: join(directory.path, 'ledger'), log });
  turns = new Turns(ledger);
  running = new Map();
  most = 0;
  queues = new ResourceQueues(
    ledger,
    async ({ pending, abort }) => {
      await new Promise<void>((resolve) => {
        running.set(pending.id, resolve);
        most = Math.max(most, running.size);
        abort.signal.addEventListener('abort', () => resolve());
      });
      running.delete(pending.id);
      if (abort.signal.reason instanceof Interrupted) throw abort.signal.reason;
      return { state: 'SUCCESS' };
    },
    log,
    turns,
  );
}

let groups = 0;

/** Accepts so many operations, each of a region of its own. */
function accept(verb: 'create-region' | 'delete-region', count: number): LiveOperation[] {
  const operations = Array.from({ length: count }, () => {
    groups += 1;
    const region = { catalogId: randomUUID(), groupId: groups };
    const seq = ledger.nextSeq();
    const pending: PendingOperation = {
      id: `${verb}/${groups}`,
      seq,
      resource: `region/${region.catalogId}/${groups}`,
      epoch: 1,
      digest: '',
      acceptedAtMs: ledger.now(),
      request:
        verb === 'delete-region'
          ? { verb, region }
          : { verb, region, database: 'd', kind: 'DATA', peers: [] },
      progress: NO_PROGRESS,
    };
    return new LiveOperation(pending);
  });
  ledger.accept(
    operations.map(({ pending }) => pending),
    [],
  );
  queues.add(operations);
  return operations;
}

const runningAre = (count: number) => eventually(`${count} run`, () => running.size === count);

/** Lets everything end that starts, one after the other. */
async function drain(operations: readonly LiveOperation[]): Promise<void> {
  const all = Promise.all(operations.map(({ ended }) => ended)).then(() => true);
  while (!(await Promise.race([all, sleep(1).then(() => false)]))) {
    const [first] = running.values();
    first?.();
  }
}

test('no more effects of a verb run at a time than the limit says, and all of them run', async () => {
  await turns.limit({ deletions: 3 });
  const deletions = accept('delete-region', 40);
  await runningAre(3);
  expect(turns.load()).toEqual([{ verb: 'delete-region', running: 3, waiting: 37, limit: 3 }]);
  await drain(deletions);
  expect(most).toBe(3);
  expect(turns.load()).toEqual([{ verb: 'delete-region', running: 0, waiting: 0, limit: 3 }]);
});

test('a limit of deletions does not hold up creations', async () => {
  await turns.limit({ deletions: 1 });
  accept('delete-region', 5);
  accept('create-region', 5);
  await runningAre(6);
});

test('a higher limit starts what waits, a lower one lets what runs end first, and none lets all run', async () => {
  await turns.limit({ deletions: 2 });
  const deletions = accept('delete-region', 20);
  await runningAre(2);
  await turns.limit({ deletions: 6 });
  await runningAre(6);
  await turns.limit({ deletions: 1 });
  for (let left = 5; left >= 1; left -= 1) {
    const [first] = running.values();
    first!();
    await runningAre(left);
  }
  most = 0;
  const [last] = running.values();
  last!();
  await eventually('the next one runs', () => most === 1);
  expect(running.size).toBe(1);
  await turns.limit({});
  await runningAre(14);
  await drain(deletions);
});

test('what waits for its turn can be canceled, and what follows has its turn', async () => {
  await turns.limit({ creations: 1 });
  const [first, second, third] = accept('create-region', 3);
  await runningAre(1);
  queues.cancel(second!);
  await second!.ended;
  expect(ledger.find(second!.pending.id)?.outcome).toMatchObject({ state: 'FAIL', code: 'CANCELED' });
  running.get(first!.pending.id)!();
  await eventually('the third runs', () => running.has(third!.pending.id));
  expect(most).toBe(1);
});

test('a limit survives a restart, and what was waiting is held to it', async () => {
  await turns.limit({ deletions: 2 });
  accept('delete-region', 10);
  await runningAre(2);
  await queues.stop();
  expect(most).toBe(2);
  await ledger.close();
  open();
  const left = ledger.pending().map((pending) => new LiveOperation(pending));
  expect(left).toHaveLength(10);
  queues.add(left);
  await runningAre(2);
  await drain(left);
  expect(most).toBe(2);
});
