import { afterAll, beforeAll, expect, it } from 'vitest';
import { commitProcess } from '../../src/catalog/optimizing/committing.js';
import { settleProcess } from '../../src/catalog/optimizing/settling.js';
import { findTable } from '../../src/catalog/optimizing/tables.js';
import { seededRandom } from '../support/random.js';
import { type OptimizingRoom, optimizingRoom, TARGET, upTo } from './optimizing-room.js';

let room: OptimizingRoom;
beforeAll(async () => {
  room = await optimizingRoom();
});
afterAll(() => room.stop());

it('200 interleavings of completions, their repetitions, T2 and commits begin the commit once and commit once', async () => {
  const table = await room.filled(4);
  const { table_id, snapshot_id } = (await findTable(room.catalog, table))!;
  const inputs = await room.files(table);
  const optimizers = await Promise.all(upTo(3).map(() => room.optimizer()));
  for (const seed of upTo(200)) {
    const random = seededRandom(seed);
    // The table as it was, and a process of four tasks, each with one of its files.
    await room.catalog.deleteFrom('optimizing_process').execute();
    await room.catalog
      .deleteFrom('snapshot')
      .where('table_id', '=', table_id)
      .where('snapshot_id', '>', snapshot_id)
      .execute();
    await room.catalog.updateTable('data_table').set({ snapshot_id, status: 'IDLE' }).execute();
    const process = await room.planned(table, 4);
    for (const [index, input] of inputs.entries()) {
      await room.catalog
        .updateTable('optimizing_task')
        .set({ inputs: JSON.stringify([input]) })
        .where('process_id', '=', process)
        .where('task_no', '=', index + 1)
        .execute();
    }
    const taken = [];
    for (const index of upTo(4)) {
      const optimizer = optimizers[index % 3]!;
      const task = await room.take(optimizer);
      taken.push({ optimizer, task, output: await room.merge(task) });
    }
    let began = 0;
    const settle = async () => {
      const verdict = await settleProcess(room.catalog, process);
      if (verdict.kind !== 'COMMITTING') return;
      if (verdict.began) began += 1;
      await commitProcess(room.catalog, process, { targetFileBytes: TARGET });
    };
    const steps = [
      ...taken.flatMap(({ optimizer, task, output }) => {
        const complete = async () => {
          await room.complete(optimizer, task, output);
          // Now and then the coordinator dies between T1 and T2.
          if (random() > 0.3) await settle();
        };
        return random() < 0.4 ? [complete, complete] : [complete];
      }),
      ...upTo(1 + Math.floor(random() * 3)).map(() => settle),
    ];
    shuffle(steps, random);
    await Promise.all(steps.map((step) => step()));
    // What a heal does in the end.
    await settle();
    expect(began, `seed ${seed}`).toBe(1);
    const { status, snapshotId, files, rows, processes } = await room.status(table);
    expect({ status, snapshotId, files, rows }, `seed ${seed}`).toEqual({
      status: 'IDLE',
      snapshotId: snapshot_id + 1,
      files: 4,
      rows: 12,
    });
    expect(processes).toMatchObject([{ state: 'SUCCESS' }]);
  }
  expect(await room.ids(table)).toEqual(upTo(12));
}, 240_000);

function shuffle<T>(values: T[], random: () => number): void {
  for (let last = values.length - 1; last > 0; last -= 1) {
    const other = Math.floor(random() * (last + 1));
    [values[last], values[other]] = [values[other]!, values[last]!];
  }
}
