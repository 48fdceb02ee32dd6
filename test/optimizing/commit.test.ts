import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { commitProcess } from '../../src/catalog/optimizing/committing.js';
import type { CommitStep } from '../../src/catalog/optimizing/snapshots.js';
import { sweepUnreferencedFiles } from '../../src/catalog/optimizing/unreferenced-files.js';
import { type OptimizingRoom, optimizingRoom, rowsFrom, TARGET, upTo } from './optimizing-room.js';

let room: OptimizingRoom;
beforeAll(async () => {
  room = await optimizingRoom();
});
afterAll(() => room.stop());

describe('the commit of a process', () => {
  it('puts one file in the place of many, with every row there once', async () => {
    const table = await room.filled(15);
    await room.optimizer();
    const process = await room.plan(table);
    await room.mergeAll(process);
    expect(await room.commit(process)).toEqual({ kind: 'COMMITTED', snapshotId: 16 });
    expect(await room.status(table)).toMatchObject({
      status: 'IDLE',
      files: 1,
      rows: 45,
      processes: [{ state: 'SUCCESS' }],
    });
    expect(await room.ids(table)).toEqual(upTo(45));
  });

  it('keeps what was ingested meanwhile', async () => {
    const table = await room.filled(4);
    await room.optimizer();
    const process = await room.plan(table);
    await room.mergeAll(process);
    let ingested = false;
    await commitProcess(room.catalog, process, {
      targetFileBytes: TARGET,
      async at(step) {
        if (step !== 'AFTER_METADATA' || ingested) return;
        ingested = true;
        await room.ingest(table, rowsFrom(12));
      },
    });
    expect(ingested).toBe(true);
    expect(await room.status(table)).toMatchObject({ status: 'IDLE', files: 2, rows: 15, snapshotId: 6 });
    expect(await room.ids(table)).toEqual(upTo(15));
  });

  it('is closed by a conflict when an input is no file of the table any more, and can be planned again', async () => {
    const table = await room.filled(4);
    await room.optimizer();
    const first = await room.plan(table);
    await room.mergeAll(first);
    // As if another writer had taken the files out: the commit of the same inputs under another process.
    await room.commit(first);
    await room.ingest(table, rowsFrom(12));
    await room.ingest(table, rowsFrom(15));
    const second = await room.plan(table);
    await room.mergeAll(second);
    await room.catalog
      .updateTable('optimizing_task')
      .set({ inputs: JSON.stringify([{ path: 'data/gone.parquet', rows: 3, bytes: 1 }]) })
      .where('process_id', '=', second)
      .where('task_no', '=', 1)
      .execute();
    const before = await room.files(table);
    expect(await room.commit(second)).toEqual({
      kind: 'CLOSED',
      reason: 'conflict: input data/gone.parquet is no file of the table any more',
    });
    expect(await room.commit(second)).toMatchObject({ kind: 'CLOSED' });
    expect(await room.files(table)).toEqual(before);
    expect(await room.status(table)).toMatchObject({ status: 'IDLE' });
    expect(await room.plan(table)).toBeGreaterThan(second);
  });

  it('closes the process when an output is gone from the disk: the inputs stay', async () => {
    const table = await room.filled(3);
    await room.optimizer();
    const process = await room.plan(table);
    await room.mergeAll(process);
    rmSync(join(await room.location(table), `data/process-${process}-task-1-attempt-1.parquet`));
    expect(await room.commit(process)).toMatchObject({ kind: 'CLOSED' });
    expect(await room.status(table)).toMatchObject({ status: 'IDLE', files: 3 });
    expect(await room.ids(table)).toEqual(upTo(9));
  });

  it('is made once by ten who make it at once', async () => {
    const table = await room.filled(3);
    await room.optimizer();
    const process = await room.plan(table);
    await room.mergeAll(process);
    const verdicts = await Promise.all(upTo(10).map(() => room.commit(process)));
    expect(verdicts).toEqual(upTo(10).map(() => ({ kind: 'COMMITTED', snapshotId: 4 })));
    expect(await room.status(table)).toMatchObject({ snapshotId: 4, files: 1 });
    expect(readdirSync(join(await room.location(table), 'metadata'))).toHaveLength(4);
  });

  it('changes nothing before beginCommitting, and nothing of a process that is unknown', async () => {
    const table = await room.filled(3);
    await room.optimizer();
    const process = await room.plan(table);
    expect(await room.commit(process)).toEqual({ kind: 'NOT_COMMITTING', status: 'MINOR_OPTIMIZING' });
    expect(await room.commit(999_999)).toEqual({ kind: 'UNKNOWN' });
    expect(await room.status(table)).toMatchObject({ snapshotId: 3 });
    await room.mergeAll(process);
    await room.commit(process);
  });

  it.each<CommitStep>(['BEFORE_METADATA', 'AFTER_METADATA', 'BEFORE_COMMIT', 'AFTER_COMMIT'])(
    'killed %s is made whole by the next one: one snapshot, and no file left that nothing refers to',
    async (step) => {
      const table = await room.filled(5);
      await room.optimizer();
      const process = await room.plan(table);
      await room.mergeAll(process);
      await killCommitter(process, step);
      expect(await room.commit(process)).toEqual({ kind: 'COMMITTED', snapshotId: 6 });
      expect(await room.status(table)).toMatchObject({ status: 'IDLE', snapshotId: 6 });
      expect(await room.ids(table)).toEqual(upTo(15));
      await sweepUnreferencedFiles(room.catalog, table, 0, { snapshots: 1, youngerThanMs: 0 });
      const location = await room.location(table);
      expect(readdirSync(join(location, 'data'))).toHaveLength(1);
      expect(readdirSync(join(location, 'metadata'))).toHaveLength(1);
      expect(await room.ids(table)).toEqual(upTo(15));
    },
  );
});

/** Has another process commit, and kills it when it has come to this step. */
async function killCommitter(processId: number, step: CommitStep): Promise<void> {
  const program = fileURLToPath(new URL('./committer.mjs', import.meta.url));
  const committer = spawn(process.execPath, [program, room.url, String(processId), String(TARGET), step], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(committer, 'exit');
  const reached = once(committer.stdout, 'data').then(String);
  expect(await Promise.race([reached, ended.then(() => 'ended')])).toBe(`${step}\n`);
  committer.kill('SIGKILL');
  await ended;
}
