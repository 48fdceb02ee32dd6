import { sql } from 'kysely';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { findAnomalies, findStuck, stuckQueries } from '../../src/catalog/optimizing/stuck.js';
import { DEFAULT_GRACES } from '../../src/rules/stuck.js';
import { rowsRead, tablesWithProcesses } from './many-tables.js';
import { type OptimizingRoom, optimizingRoom } from './optimizing-room.js';

const TABLES = 100_000;
const HEALTHY = 2_000;
const STUCK = 10;

let room: OptimizingRoom;
beforeAll(async () => {
  room = await optimizingRoom();
  await tablesWithProcesses(room.catalog, { tables: TABLES, healthy: HEALTHY, stuck: STUCK });
}, 120_000);
afterAll(() => room?.stop());

test('among 100,000 tables with 2,000 healthy processes the 10 stuck ones are found through the partial indexes, reading a few rows for each', async () => {
  const { processes, tasks } = await findStuck(room.catalog, DEFAULT_GRACES);
  expect(processes.filter(({ table }) => table === 'MINOR_OPTIMIZING')).toHaveLength(4);
  expect(processes.filter(({ table }) => table === 'COMMITTING')).toHaveLength(3);
  expect(tasks).toHaveLength(3);

  const indexes = ['optimizing_task_unsettled', 'data_table_committing', 'optimizing_task_out'];
  for (const [at, statement] of stuckQueries(DEFAULT_GRACES).entries()) {
    const { read, scans, uses } = await rowsRead(room.catalog, statement);
    expect(uses, scans.join('\n')).toContain(indexes[at]);
    expect(scans.filter((scan) => /^Seq Scan on (data_table|optimizing_)/.test(scan))).toEqual([]);
    expect(read, scans.join('\n')).toBeLessThanOrEqual(STUCK * 10);
  }
});

test('one table is looked at without looking at the others', async () => {
  const { processes, tasks } = await findStuck(room.catalog, DEFAULT_GRACES, 'many-100000');
  expect([...processes, ...tasks]).toEqual([]);
  const [stuck] = (await findStuck(room.catalog, DEFAULT_GRACES)).processes;
  expect((await findStuck(room.catalog, DEFAULT_GRACES, stuck!.name)).processes).toMatchObject([
    { processId: stuck!.processId },
  ]);
});

test('a process without tasks, and a busy table without a process, are reported once they are old enough', async () => {
  expect(await findAnomalies(room.catalog, 60_000)).toEqual([]);
  await sql`DELETE FROM optimizing_task WHERE process_id = (SELECT process_id FROM optimizing_process p
    JOIN data_table d USING (table_id) WHERE d.name = 'many-1')`.execute(room.catalog);
  await sql`UPDATE optimizing_process SET state = 'CLOSED' WHERE table_id =
    (SELECT table_id FROM data_table WHERE name = 'many-2')`.execute(room.catalog);
  expect(await findAnomalies(room.catalog, 60_000)).toEqual([
    {
      kind: 'PROCESS_WITHOUT_TASKS',
      name: 'many-1',
      table: 'MINOR_OPTIMIZING',
      processId: expect.any(Number),
    },
    { kind: 'TABLE_WITHOUT_PROCESS', name: 'many-2', table: 'MINOR_OPTIMIZING', processId: undefined },
  ]);
  expect(await findAnomalies(room.catalog, 86_400_000)).toEqual([]);
});
