import { sql } from 'kysely';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Catalog } from '../src/catalog/catalog.js';
import { findStuck } from '../src/catalog/optimizing/stuck.js';
import { DEFAULT_GRACES, shapeOfProcess } from '../src/rules/stuck.js';
import { tablesWithProcesses } from '../test/optimizing/many-tables.js';
import { type OptimizingRoom, optimizingRoom } from '../test/optimizing/optimizing-room.js';

const TABLES = 100_000;
const STUCK = 10;
const RUNS = 5;

let room: OptimizingRoom;
beforeAll(async () => {
  room = await optimizingRoom();
  await tablesWithProcesses(room.catalog, { tables: TABLES, healthy: 1_000, stuck: STUCK });
}, 300_000);
afterAll(() => room?.stop());

test('finding 10 stuck processes among 100,000 tables, by index and by looking at every table', async () => {
  const byIndex = await median(() => findStuck(room.catalog, DEFAULT_GRACES));
  const byTable = await median(() => everyTable(room.catalog));
  console.log(
    `heal: ${STUCK} stuck among ${TABLES} tables: by index ${byIndex.toFixed(1)} ms, every table read ${byTable.toFixed(1)} ms ` +
      `(ratio ${(byTable / byIndex).toFixed(1)})`,
  );
  expect(byTable).toBeGreaterThan(byIndex);
}, 300_000);

/** What a scan does that reads every table, its process and its tasks, and decides in the program. */
async function everyTable(catalog: Catalog): Promise<number> {
  const { rows } = await sql<Parameters<typeof shapeOfProcess>[0]>`
    SELECT d.status AS table, p.state AS process, p.committing_since IS NOT NULL AS committing,
      (extract(epoch FROM now() - d.status_since) * 1000)::bigint AS "statusMs", t.tasks, t.succeeded, t.failed, t."lastOutcomeMs"
    FROM data_table d
    LEFT JOIN optimizing_process p ON p.table_id = d.table_id AND p.state = 'RUNNING'
    LEFT JOIN (
      SELECT process_id, count(*) AS tasks, count(*) FILTER (WHERE state = 'SUCCESS') AS succeeded,
        count(*) FILTER (WHERE state = 'FAILED') AS failed,
        (extract(epoch FROM now() - max(state_since)) * 1000)::bigint AS "lastOutcomeMs"
      FROM optimizing_task GROUP BY process_id
    ) t ON t.process_id = p.process_id`.execute(catalog);
  return rows.filter((row) => shapeOfProcess(row, DEFAULT_GRACES) !== undefined).length;
}

async function median(work: () => Promise<unknown>): Promise<number> {
  const times: number[] = [];
  for (let run = 0; run <= RUNS; run += 1) {
    const began = performance.now();
    await work();
    if (run > 0) times.push(performance.now() - began);
  }
  return times.sort((a, b) => a - b)[Math.floor(RUNS / 2)]!;
}
