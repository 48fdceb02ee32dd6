import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { digestOf, Ledger, type LedgerOptions } from '../../src/node/ledger.js';
import { NO_PROGRESS, type PendingOperation, type RegionRequest } from '../../src/node/operation.js';
import { temporaryDirectory } from '../support/guard.js';

const DAY = 24 * 60 * 60 * 1000;
const request: RegionRequest = { verb: 'delete-region', region: { catalogId: 'c', groupId: 1 } };

let home: ReturnType<typeof temporaryDirectory>;
let ledger: Ledger;
let now = 0;

function openLedger(options: Partial<LedgerOptions> = {}): Ledger {
  return new Ledger({ path: home.path, log: pino({ level: 'silent' }), now: () => now, ...options });
}

beforeEach(() => {
  now = 1_000_000;
  home = temporaryDirectory('ledger');
  ledger = openLedger();
});
afterEach(async () => {
  await ledger.close();
  await home.remove();
});

function accept(id: string, resource: string, epoch: number): PendingOperation {
  const operation = {
    id,
    seq: ledger.nextSeq(),
    resource,
    epoch,
    digest: digestOf(request),
    acceptedAtMs: now,
    request,
    progress: NO_PROGRESS,
  };
  ledger.accept([operation], []);
  return operation;
}

async function acceptAndEnd(id: string, resource: string, epoch: number): Promise<void> {
  await ledger.end(accept(id, resource, epoch), { state: 'SUCCESS' }, NO_PROGRESS);
}

async function reopen(options: Partial<LedgerOptions> = {}): Promise<void> {
  await ledger.close();
  ledger = openLedger(options);
}

describe('the ledger', () => {
  test('keeps its id, what it accepted and how it ended', async () => {
    const { id } = ledger;
    await acceptAndEnd('a', 'r1', 4);
    const before = ledger.find('a');
    accept('b', 'r2', 7);
    await reopen();
    expect(ledger.id).toBe(id);
    expect(ledger.find('a')).toEqual(before);
    expect(before).toMatchObject({ epoch: 4, outcome: { state: 'SUCCESS', endedAtMs: now } });
    expect([ledger.highestEpoch('r1'), ledger.highestEpoch('r2'), ledger.highestEpoch('r3')]).toEqual([
      4, 7, 0,
    ]);
  });

  test('tells what is pending in the order of acceptance, across restarts', async () => {
    for (const id of ['c', 'a', 'b']) accept(id, 'r', 1);
    await reopen();
    accept('0', 'r', 1);
    await ledger.end(ledger.pending()[1]!, { state: 'SUCCESS' }, NO_PROGRESS);
    await reopen();
    expect(ledger.pending().map(({ id }) => id)).toEqual(['c', 'b', '0']);
    expect(ledger.pending()[0]?.request).toEqual(request);
  });

  test('accepts a batch as a whole or not at all', () => {
    const whole = { ...accept('a', 'r', 1), id: 'b', seq: ledger.nextSeq(), epoch: 2 };
    expect(() => ledger.accept([whole, { ...whole, id: 'x'.repeat(3000) }], [])).toThrow();
    expect(ledger.find('b')).toBeUndefined();
    expect(ledger.highestEpoch('r')).toBe(1);
    expect(ledger.pending().map(({ id }) => id)).toEqual(['a']);
  });

  test('does not tell an end before it is written, and writes all ends of a turn together', async () => {
    const operations = Array.from({ length: 500 }, (_, i) => accept(`op-${i}`, `r-${i}`, 1));
    const transaction = ledger.root.transactionSync.bind(ledger.root);
    let transactions = 0;
    ledger.root.transactionSync = (action, ...rest) => {
      transactions += 1;
      return transaction(action, ...rest);
    };
    const ends = operations.map((operation) => ledger.end(operation, { state: 'SUCCESS' }, NO_PROGRESS));
    expect(ledger.find('op-0')?.outcome).toBeUndefined();
    await Promise.race(ends);
    expect(operations.every(({ id }) => ledger.find(id)?.outcome !== undefined)).toBe(true);
    expect(transactions).toBe(1);
  });

  test('tries again when an end cannot be written, and tells it only then', async () => {
    const operation = accept('a', 'r', 1);
    const transaction = ledger.root.transactionSync.bind(ledger.root);
    let failures = 0;
    ledger.root.transactionSync = () => {
      failures += 1;
      ledger.root.transactionSync = transaction;
      throw new Error('no space left on device');
    };
    const end = ledger.end(operation, { state: 'SUCCESS' }, NO_PROGRESS);
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    expect([failures, ledger.find('a')?.outcome]).toEqual([1, undefined]);
    await end;
    expect(ledger.find('a')?.outcome?.state).toBe('SUCCESS');
  });

  test('remembers how far a pending operation was', async () => {
    const operation = accept('a', 'r', 1);
    ledger.noteProgress(operation, { done: 2, total: 9 });
    await reopen();
    expect(ledger.pending()[0]?.progress).toEqual({ done: 2, total: 9 });
  });
});

describe('retention', () => {
  test('drops an outcome only when a higher epoch superseded it and it ended long enough ago', async () => {
    await acceptAndEnd('superseded and old', 'r1', 1);
    await acceptAndEnd('old', 'r2', 1);
    accept('pending', 'r3', 1);
    now += 7 * DAY;
    accept('of the higher epoch', 'r3', 2);
    await acceptAndEnd('superseded', 'r4', 1);
    await acceptAndEnd('other', 'r4', 2);
    await acceptAndEnd('another', 'r1', 2);
    expect(await ledger.dropExpired()).toBe(1);
    expect(ledger.find('superseded and old')).toBeUndefined();
    for (const id of ['old', 'pending', 'of the higher epoch', 'superseded', 'other', 'another']) {
      expect(ledger.find(id), id).toBeDefined();
    }
    expect(ledger.highestEpoch('r1')).toBe(2);
    now += 7 * DAY;
    expect(await ledger.dropExpired()).toBe(1);
    expect(ledger.find('superseded')).toBeUndefined();
  });

  test('lasts 7 days to the millisecond, or as long as it is told', async () => {
    await acceptAndEnd('a', 'r', 1);
    await acceptAndEnd('b', 'r', 2);
    now += 7 * DAY - 1;
    expect(await ledger.dropExpired()).toBe(0);
    await reopen({ retentionMs: 7 * DAY - 1 });
    expect(await ledger.dropExpired()).toBe(1);
  });

  test('goes through any number of operations', async () => {
    const many = Array.from({ length: 2500 }, (_, i) => ({ ...accept(`op-${i}`, 'r', 1) }));
    await Promise.all(many.map((operation) => ledger.end(operation, { state: 'SUCCESS' }, NO_PROGRESS)));
    accept('next', 'r', 2);
    now += 8 * DAY;
    expect(await ledger.dropExpired()).toBe(2500);
    expect(ledger.find('next')).toBeDefined();
  });
});

describe('the digest of a request', () => {
  const create: RegionRequest = {
    verb: 'create-region',
    region: { catalogId: 'c', groupId: 1 },
    database: 'db',
    kind: 'DATA',
    peers: ['node-1', 'node-2'],
  };

  test('is the same for the same set of peers, and another one for any other difference', () => {
    expect(digestOf({ ...create, peers: ['node-2', 'node-1'] })).toBe(digestOf(create));
    const others: RegionRequest[] = [
      request,
      { ...create, database: 'other' },
      { ...create, kind: 'SCHEMA' },
      { ...create, peers: ['node-1'] },
    ];
    expect(new Set([create, ...others].map(digestOf)).size).toBe(5);
  });
});
