import { sql } from 'kysely';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { duePlanning, duePlanningQuery, planTable } from '../../src/catalog/optimizing/planning.js';
import { GROUP, type OptimizingRoom, optimizingRoom, rowsFrom, TARGET, upTo } from './optimizing-room.js';

let room: OptimizingRoom;
beforeAll(async () => {
  room = await optimizingRoom();
});
afterAll(() => room.stop());

const options = { actor: 'tester', targetFileBytes: TARGET };

it('only tables with enough small files are due, and none while it is optimized', async () => {
  const [few, enough] = [await room.filled(11), await room.filled(12)];
  await room.optimizer();
  expect(await duePlanning(room.catalog, 10)).toEqual([enough]);
  expect(await planTable(room.catalog, few, options)).toEqual({ kind: 'NOTHING_TO_DO' });
  const planned = await planTable(room.catalog, enough, options);
  if (planned.kind !== 'PLANNED') throw new Error(planned.kind);
  expect(await duePlanning(room.catalog, 10)).toEqual([]);
  await room.mergeAll(planned.processId);
  await room.commit(planned.processId);
  expect(await duePlanning(room.catalog, 10)).toEqual([]);
  await room.ingest(few, rowsFrom(100));
  expect(await duePlanning(room.catalog, 10)).toEqual([few]);
  // What waits for an optimizer is due when there is one, and keeps no other table from its turn until then.
  await room.catalog.deleteFrom('optimizer').execute();
  expect(await planTable(room.catalog, few, options)).toMatchObject({ kind: 'NO_OPTIMIZER' });
  expect(await duePlanning(room.catalog, 10)).toEqual([]);
  await room.optimizer();
  expect(await duePlanning(room.catalog, 10)).toEqual([few]);
});

it('what was asked for while there was no optimizer is planned once there is one, also below the thresholds, and once', async () => {
  const table = await room.filled(3);
  await room.catalog.deleteFrom('optimizer').execute();
  expect(await planTable(room.catalog, table, { ...options, kind: 'FULL' })).toMatchObject({
    kind: 'NO_OPTIMIZER',
  });
  expect(await room.status(table)).toMatchObject({ status: 'PENDING' });
  expect(await duePlanning(room.catalog, 10)).not.toContain(table);
  await room.optimizer();
  expect(await duePlanning(room.catalog, 10)).toContain(table);
  const planned = await planTable(room.catalog, table, options);
  if (planned.kind !== 'PLANNED') throw new Error(planned.kind);
  expect(planned).toMatchObject({ optimizing: 'FULL', inputFiles: 3 });
  await room.mergeAll(planned.processId);
  await room.commit(planned.processId);
  await room.ingest(table, rowsFrom(200));
  expect(await duePlanning(room.catalog, 10)).not.toContain(table);
  expect(await planTable(room.catalog, table, options)).toEqual({ kind: 'NOTHING_TO_DO' });
});

it('a table that a planner left PLANNING is taken over, and of ten planners one makes a process', async () => {
  const table = await room.filled(12);
  await room.optimizer();
  const leave = (secondsAgo: number) =>
    room.catalog
      .updateTable('data_table')
      .set({
        status: 'PLANNING',
        status_since: sql<Date>`now() - make_interval(secs => ${secondsAgo})` as never,
      })
      .where('name', '=', table)
      .execute();
  await leave(1);
  expect(await planTable(room.catalog, table, options)).toMatchObject({ kind: 'BUSY', status: 'PLANNING' });
  await leave(60);
  expect(await duePlanning(room.catalog, 10)).toContain(table);
  const verdicts = await Promise.all(upTo(10).map(() => planTable(room.catalog, table, options)));
  expect(verdicts.map(({ kind }) => kind).sort()).toEqual([...upTo(9).map(() => 'BUSY'), 'PLANNED']);
});

it('counts that were made for another target size do not make a table due for ever', async () => {
  const table = await room.filled(12);
  await room.optimizer();
  expect(await duePlanning(room.catalog, 10)).toContain(table);
  const smaller = { actor: 'tester', targetFileBytes: 100 };
  expect(await planTable(room.catalog, table, smaller)).toEqual({ kind: 'NOTHING_TO_DO' });
  expect(await duePlanning(room.catalog, 10)).not.toContain(table);
  expect(await room.status(table)).toMatchObject({ status: 'IDLE' });
});

it('among 20,000 tables the due ones are found by their indexes', async () => {
  await sql`
    INSERT INTO data_table (name, group_name, location, created_by, small_files)
    SELECT 'many-' || n, ${GROUP}, '/nowhere', 'tester', CASE WHEN n % 4000 = 0 THEN 12 ELSE n % 11 END
    FROM generate_series(1, 20000) AS n`.execute(room.catalog);
  await sql`ANALYZE data_table`.execute(room.catalog);
  expect((await duePlanning(room.catalog, 100)).filter((name) => name.startsWith('many-'))).toHaveLength(5);
  const { rows } = await sql<{ 'QUERY PLAN': string }>`EXPLAIN ${duePlanningQuery(100)}`.execute(
    room.catalog,
  );
  const plan = rows.map((row) => row['QUERY PLAN']).join('\n');
  for (const index of ['small_files', 'undersized_files', 'wanted', 'busy']) {
    expect(plan).toContain(`data_table_${index}`);
  }
  expect(plan).not.toContain('Seq Scan on data_table');
});
