import { existsSync, mkdirSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { OperationState } from '../../src/rpc/gen/steward/worker/v1/operation_pb.js';
import { eventually } from '../support/eventually.js';
import { nodeForEachTest } from './node-process.js';
import {
  ALL_FILES,
  CATALOG,
  creation,
  deletion,
  directoryOf,
  ended,
  FOR_EVER,
  filesOf,
  finish,
  leftIn,
  listed,
  type Operation,
  say,
  setFault,
  statusOf,
  submit,
} from './region-operations.js';

const node = nodeForEachTest();

async function staged(groupId: number): Promise<void> {
  await eventually('the region is staged', () => {
    const stage = join(node.data, 'staging', `${CATALOG}.${groupId}`);
    return existsSync(stage) && readdirSync(stage).length === ALL_FILES.length;
  });
}

async function trashed(): Promise<void> {
  await eventually('the region is in the trash', () => leftIn(node, 'trash').length >= ALL_FILES.length - 1);
}

describe('after a SIGKILL', () => {
  test('what was accepted is known, ends, and the disk is as it says', async () => {
    const operations = Array.from({ length: 200 }, (_, i) => creation(i + 1));
    await submit(node, ...operations);
    await node.kill();
    await node.restart();
    const ends = await Promise.all(operations.map((operation) => ended(node, operation)));
    for (const [index, end] of ends.entries()) {
      expect(['SUCCESS', 'FAIL(INTERRUPTED)']).toContain(end);
      expect(filesOf(node, index + 1)).toEqual(end === 'SUCCESS' ? ALL_FILES : undefined);
    }
    expect(leftIn(node, 'staging')).toEqual([]);
  });

  test('what ended is told as before', async () => {
    const operations = [creation(1), creation(1, { attempt: 2, database: 'other' }), deletion(2)];
    expect(await finish(node, ...operations)).toEqual(['SUCCESS', 'FAIL(ALREADY_EXISTS)', 'SUCCESS']);
    const before = await Promise.all(operations.map((operation) => statusOf(node, operation)));
    await node.kill();
    await node.restart();
    expect(await Promise.all(operations.map((operation) => statusOf(node, operation)))).toEqual(before);
    expect(await submit(node, ...operations)).toEqual(before);
    const changed = creation(1, { database: 'changed' });
    expect((await submit(node, changed)).map(say)).toEqual(['REFUSED(INVALID_ARGUMENT)']);
  });

  test('a creation that was cut short is FAIL(INTERRUPTED), nothing of it is left, a new attempt works', async () => {
    await setFault(node, { target: 'create-region', kind: FOR_EVER });
    await submit(node, creation(1));
    await staged(1);
    await node.kill();
    expect(leftIn(node, 'staging')).not.toEqual([]);
    await node.restart();
    expect(await ended(node, creation(1))).toBe('FAIL(INTERRUPTED)');
    expect([filesOf(node, 1), leftIn(node, 'staging'), await listed(node)]).toEqual([undefined, [], []]);
    expect(await finish(node, creation(1, { attempt: 2 }))).toEqual(['SUCCESS']);
    expect(filesOf(node, 1)).toEqual(ALL_FILES);
  });

  test('a creation that was whole on disk, and not recorded, is SUCCESS', async () => {
    await setFault(node, { target: 'create-region', kind: FOR_EVER });
    await submit(node, creation(1));
    await staged(1);
    await node.kill();
    mkdirSync(join(node.data, 'regions', CATALOG), { recursive: true });
    renameSync(join(node.data, 'staging', `${CATALOG}.1`), directoryOf(node, 1));
    await node.restart();
    expect(await ended(node, creation(1))).toBe('SUCCESS');
    expect(filesOf(node, 1)).toEqual(ALL_FILES);
  });

  test('so is one that a higher epoch waits for, and that one takes its turn', async () => {
    await setFault(node, { target: 'create-region', kind: FOR_EVER });
    await submit(node, creation(1));
    await staged(1);
    await submit(node, creation(1, { epoch: 2, database: 'other' }));
    await node.kill();
    mkdirSync(join(node.data, 'regions', CATALOG), { recursive: true });
    renameSync(join(node.data, 'staging', `${CATALOG}.1`), directoryOf(node, 1));
    await node.restart();
    expect(await ended(node, creation(1))).toBe('SUCCESS');
    expect(await ended(node, creation(1, { epoch: 2, database: 'other' }))).toBe('FAIL(ALREADY_EXISTS)');
  });

  test('what was queued runs, in its order', async () => {
    await finish(node, creation(1));
    await setFault(node, { target: 'delete-region', kind: FOR_EVER });
    const queued = [
      creation(1, { attempt: 2, database: 'second' }),
      deletion(1, { attempt: 2 }),
      creation(1, { attempt: 3, database: 'third' }),
    ];
    await submit(node, deletion(1), ...queued);
    await trashed();
    await node.kill();
    await node.restart();
    expect(await Promise.all(queued.map((operation) => ended(node, operation)))).toEqual(
      Array(3).fill('SUCCESS'),
    );
    expect(await ended(node, deletion(1))).toBe('SUCCESS');
    expect([filesOf(node, 1), leftIn(node, 'trash')]).toEqual([ALL_FILES, []]);
  });

  test('what a higher epoch had overtaken stays superseded', async () => {
    await setFault(node, { target: 'create-region', kind: FOR_EVER });
    await submit(node, creation(1));
    await submit(node, creation(1, { attempt: 2 }));
    await staged(1);
    await submit(node, deletion(1, { epoch: 2 }));
    await node.kill();
    await node.restart();
    expect(await ended(node, deletion(1, { epoch: 2 }))).toBe('SUCCESS');
    expect(await ended(node, creation(1))).toBe('FAIL(INTERRUPTED)');
    expect(await ended(node, creation(1, { attempt: 2 }))).toBe('FAIL(SUPERSEDED)');
    expect(filesOf(node, 1)).toBeUndefined();
  });

  test('a deletion that had not removed anything yet goes on and empties its trash before it ends', async () => {
    await finish(node, creation(1));
    await setFault(node, { target: 'delete-region', kind: FOR_EVER });
    await submit(node, deletion(1));
    await trashed();
    await node.kill();
    expect(filesOf(node, 1)).toBeUndefined();
    expect(leftIn(node, 'trash').filter((path) => path.includes('data-'))).toHaveLength(8);
    await node.restart();
    expect(await ended(node, deletion(1))).toBe('SUCCESS');
    expect([leftIn(node, 'trash'), await listed(node)]).toEqual([[], []]);
  });

  test('a deletion goes on where it was, and its progress does not step back', async () => {
    await finish(node, creation(1));
    await node.restart('--delete-file-ms', '100');
    await submit(node, deletion(1));
    const seen: number[] = [];
    const look = async (): Promise<boolean> => {
      const { state, progress } = await statusOf(node, deletion(1));
      if (progress !== undefined && progress.total > 0n) {
        expect(progress.total).toBe(9n);
        seen.push(Number(progress.done));
      }
      return state === OperationState.SUCCESS;
    };
    for (const least of [2, 4, 6]) {
      await eventually(
        `${least} files are removed`,
        async () => (await look()) || (seen.at(-1) ?? 0) >= least,
      );
      await node.kill();
      await node.restart();
    }
    await eventually('the deletion is over', look);
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    expect(seen.at(-1)).toBe(9);
    expect([filesOf(node, 1), leftIn(node, 'trash')]).toEqual([undefined, []]);
  });

  test('trash that no pending operation owes is emptied at the start', async () => {
    await finish(node, creation(1));
    await node.kill();
    mkdirSync(join(node.data, 'trash', CATALOG), { recursive: true });
    mkdirSync(join(node.data, 'trash', CATALOG, '1'));
    renameSync(directoryOf(node, 1), join(node.data, 'trash', CATALOG, '1', '1'));
    await node.restart();
    expect([leftIn(node, 'trash'), await listed(node)]).toEqual([[], []]);
  });

  test('a half-made region that no pending operation owns is removed at the start', async () => {
    await node.kill();
    const stage = join(node.data, 'staging', `${CATALOG}.5`);
    mkdirSync(stage);
    writeFileSync(join(stage, 'region.json'), '{}');
    await node.restart();
    expect([leftIn(node, 'staging'), await listed(node)]).toEqual([[], []]);
  });

  test('a node that is killed again and again leaks nothing and loses nothing', {
    timeout: 60_000,
  }, async () => {
    await node.restart('--delete-file-ms', '2');
    const groups = Array.from({ length: 40 }, (_, i) => i + 1);
    /** Asks until all are SUCCESS, as the control plane does: again after an error, a new attempt after FAIL. */
    const drive = async (make: (groupId: number, attempt: number) => Operation): Promise<void> => {
      const open = new Map(groups.map((groupId) => [groupId, 1]));
      await eventually('all are done', async () => {
        const asked = [...open];
        const answers = await submit(node, ...asked.map(([groupId, attempt]) => make(groupId, attempt)));
        for (const [index, { state }] of answers.entries()) {
          const [groupId, attempt] = asked[index]!;
          if (state === OperationState.FAIL) open.set(groupId, attempt + 1);
          else if (state === OperationState.SUCCESS) open.delete(groupId);
          else expect(state).toBe(OperationState.PROCESSING);
        }
        return open.size === 0;
      });
    };
    for (let epoch = 1; epoch <= 6; epoch += 2) {
      const created = drive((groupId, attempt) => creation(groupId, { epoch, attempt }));
      await node.restart();
      await created;
      expect(await listed(node)).toEqual(groups.map((groupId) => `${groupId}:PRESENT@${epoch}`));
      for (const groupId of groups) expect(filesOf(node, groupId)).toEqual(ALL_FILES);
      const deleted = drive((groupId, attempt) => deletion(groupId, { epoch: epoch + 1, attempt }));
      await node.restart();
      await deleted;
      expect(await listed(node)).toEqual([]);
      expect([leftIn(node, 'staging'), leftIn(node, 'trash')]).toEqual([[], []]);
    }
  });
});

describe('after a SIGTERM', () => {
  test('a creation that was under way is not failed: it runs at the next start', async () => {
    await setFault(node, { target: 'create-region', kind: FOR_EVER });
    await submit(node, creation(1));
    await staged(1);
    expect(await node.stop()).toBe(0);
    expect([filesOf(node, 1), leftIn(node, 'staging')]).toEqual([undefined, []]);
    await node.restart();
    expect(await ended(node, creation(1))).toBe('SUCCESS');
    expect(filesOf(node, 1)).toEqual(ALL_FILES);
  });

  test('a deletion stops between two files and goes on at the next start', async () => {
    await finish(node, creation(1));
    await node.restart('--delete-file-ms', '100');
    await submit(node, deletion(1));
    await eventually(
      'a file is removed',
      async () => ((await statusOf(node, deletion(1))).progress?.done ?? 0n) > 0n,
    );
    expect(await node.stop()).toBe(0);
    expect(leftIn(node, 'trash').some((path) => path.endsWith('region.json'))).toBe(true);
    await node.restart('--delete-file-ms', '0');
    expect(await ended(node, deletion(1))).toBe('SUCCESS');
    expect(leftIn(node, 'trash')).toEqual([]);
  });

  test('a call that is never answered does not keep the node from ending', async () => {
    await setFault(node, { target: 'Get', times: 1, kind: { case: 'dropRequest', value: true } });
    const call = statusOf(node, creation(1)).catch(() => 'failed');
    await eventually(
      'the fault has struck',
      async () => (await node.faults.listFaults({})).faults.length === 0,
    );
    expect(await node.stop()).toBe(0);
    expect(await call).toBe('failed');
  });
});
