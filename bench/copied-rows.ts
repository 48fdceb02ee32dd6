import { type RawBuilder, sql } from 'kysely';
import type { Catalog } from '../src/catalog/catalog.js';

/** Room for the ids of copies, above those of what is copied. */
const STEP = 1_000;

/** Writes rows of a job that ran so many times more, under other ids. */
export async function copyJob(catalog: Catalog, jobId: string, copies: number): Promise<void> {
  for (const table of ['job', 'job_state_time', 'pipeline', 'task_group', 'checkpoint']) {
    await copyRows(
      catalog,
      table,
      sql`job_id = ${jobId}`,
      sql`jsonb_build_object('job_id', r.job_id || '-' || n)`,
      copies,
    );
  }
}

/** Writes rows of a table, of its snapshots and of its optimizing so many times more, under other ids. */
export async function copyTable(catalog: Catalog, name: string, copies: number): Promise<void> {
  const id = sql`(SELECT table_id FROM data_table WHERE name = ${name})`;
  const processes = sql`process_id IN (SELECT process_id FROM optimizing_process WHERE table_id = ${id})`;
  const tableId = sql`'table_id', r.table_id + n * ${STEP}`;
  const processId = sql`'process_id', r.process_id + n * ${STEP}`;
  const copied: [string, RawBuilder<unknown>, RawBuilder<unknown>][] = [
    ['data_table', sql`table_id = ${id}`, sql`${tableId}, 'name', r.name || '-' || n`],
    ['optimizing_process', sql`table_id = ${id}`, sql`${tableId}, ${processId}`],
    ['optimizing_task', processes, processId],
    ['snapshot', sql`table_id = ${id}`, sql`${tableId}, ${processId}`],
  ];
  for (const [table, which, ids] of copied) {
    await copyRows(catalog, table, which, sql`jsonb_build_object(${ids})`, copies);
  }
}

async function copyRows(
  catalog: Catalog,
  table: string,
  which: RawBuilder<unknown>,
  other: RawBuilder<unknown>,
  copies: number,
): Promise<void> {
  await sql`
    INSERT INTO ${sql.table(table)} OVERRIDING SYSTEM VALUE
    SELECT (jsonb_populate_record(r, to_jsonb(r) || ${other})).*
    FROM ${sql.table(table)} r, generate_series(1, ${sql.lit(copies)}) n WHERE ${which}`.execute(catalog);
}
