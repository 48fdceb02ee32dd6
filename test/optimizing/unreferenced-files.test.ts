import { existsSync, readdirSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { settleProcess } from '../../src/catalog/optimizing/settling.js';
import { findTable } from '../../src/catalog/optimizing/tables.js';
import { sweepUnreferencedFiles } from '../../src/catalog/optimizing/unreferenced-files.js';
import { readSnapshotFile } from '../../src/warehouse/snapshot-file.js';
import { seededRandom } from '../support/random.js';
import { type OptimizingRoom, optimizingRoom, rowsFrom, upTo } from './optimizing-room.js';

let room: OptimizingRoom;
beforeAll(async () => {
  room = await optimizingRoom();
});
afterAll(() => room.stop());
afterEach(() => room.catalog.deleteFrom('optimizing_process').execute());

const NOW_ONLY = { snapshots: 1, youngerThanMs: 0 };

describe('sweeping unreferenced files', () => {
  it('removes what nothing refers to, and only when it is old enough', async () => {
    const table = await room.filled(2);
    const location = await room.location(table);
    const left = ['data/left.parquet', 'data/left.parquet.partial', 'metadata/9-left.json'];
    for (const path of left) writeFileSync(join(location, path), 'left behind');
    writeFileSync(join(location, 'data/young.parquet'), 'young');
    for (const path of left) utimesSync(join(location, path), new Date(0), new Date(0));
    expect(await sweepUnreferencedFiles(room.catalog, table, 60_000)).toEqual({ removed: left, young: 1 });
    expect(existsSync(join(location, 'data/young.parquet'))).toBe(true);
    expect(await room.ids(table)).toEqual(upTo(6));
    expect(await sweepUnreferencedFiles(room.catalog, 'nothing', 0)).toBeUndefined();
  });

  it('keeps the retained snapshots, with every file that they list', async () => {
    const table = await room.filled(8);
    await room.optimizer();
    const process = await room.plan(table);
    await room.mergeAll(process);
    await room.commit(process);
    const location = await room.location(table);
    const lists = async () => {
      const names = readdirSync(join(location, 'metadata'));
      const snapshots = await Promise.all(
        names.map((name) => readSnapshotFile(location, `metadata/${name}`)),
      );
      return snapshots.sort((a, b) => a.snapshotId - b.snapshotId);
    };
    await sweepUnreferencedFiles(room.catalog, table, 0, { snapshots: 5, youngerThanMs: 0 });
    const kept = await lists();
    expect(kept.map(({ snapshotId }) => snapshotId)).toEqual([5, 6, 7, 8, 9]);
    for (const { files } of kept) {
      for (const { path } of files) expect(existsSync(join(location, path)), path).toBe(true);
    }
    await sweepUnreferencedFiles(room.catalog, table, 0, { snapshots: 1, youngerThanMs: 3_600_000 });
    expect(await lists()).toHaveLength(5);
    await sweepUnreferencedFiles(room.catalog, table, 0, NOW_ONLY);
    expect(readdirSync(join(location, 'data'))).toHaveLength(1);
    // Asked to keep more than is left.
    await sweepUnreferencedFiles(room.catalog, table, 0);
    expect(await room.ids(table)).toEqual(upTo(24));
  });

  it('keeps what a running process reads, has written, and is writing', async () => {
    const table = await room.filled(4);
    const optimizer = await room.optimizer();
    const process = await room.plan(table);
    const task = await room.take(optimizer);
    const location = await room.location(table);
    writeFileSync(join(location, `${task.output}.some-process.tmp`), 'half');
    expect(await sweepUnreferencedFiles(room.catalog, table, 0)).toEqual({ removed: [], young: 0 });
    await room.complete(optimizer, task, await room.merge(task));
    const swept = await sweepUnreferencedFiles(room.catalog, table, 0, NOW_ONLY);
    expect(swept!.removed.every((path) => path.startsWith('metadata/'))).toBe(true);
    await settleProcess(room.catalog, process);
    expect(await room.commit(process)).toMatchObject({ kind: 'COMMITTED' });
    expect(await room.ids(table)).toEqual(upTo(12));
  });

  it('never removes what is referenced, beside ingestions, merges, commits and crashes of any order', async () => {
    for (const seed of upTo(8)) {
      const random = seededRandom(seed);
      const table = await room.filled(3);
      await room.optimizer();
      let rows = 9;
      const doing: Promise<unknown>[] = [];
      for (const _ of upTo(12)) {
        const choice = random();
        if (choice < 0.4) {
          const first = rows;
          doing.push(again(() => room.ingest(table, rowsFrom(first), `from-${first}`)));
          rows += 3;
        } else if (choice < 0.8) {
          doing.push(sweepUnreferencedFiles(room.catalog, table, 0, NOW_ONLY));
        } else {
          await Promise.all(doing.splice(0));
          const process = await room.plan(table).catch(() => undefined);
          if (process !== undefined) {
            await room.mergeAll(process);
            doing.push(again(() => room.commit(process)));
          }
        }
      }
      await Promise.all(doing);
      await sweepUnreferencedFiles(room.catalog, table, 0, NOW_ONLY);
      const { location } = (await findTable(room.catalog, table))!;
      const files = (await room.files(table)).map(({ path }) => path.replace('data/', ''));
      expect(readdirSync(join(location, 'data')).sort(), `seed ${seed}`).toEqual(files.sort());
      expect(await room.ids(table), `seed ${seed}`).toEqual(upTo(rows));
    }
  });
});

/** With a grace of 0 a sweep takes away what is being written: that fails, and is asked again. */
async function again<T>(ask: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
}
