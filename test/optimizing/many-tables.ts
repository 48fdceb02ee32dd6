import { type RawBuilder, sql } from 'kysely';
import type { Catalog } from '../../src/catalog/catalog.js';
import { GROUP } from './optimizing-room.js';

/**
 * Tables `many-<n>` without a file on disk. The first `healthy` ones are being optimized as they should, with tasks of every
 * kind; of the next `stuck` ones, 4 in 10 are S1, 3 are COMMITTING without a commit, and 3 have a task nobody acknowledged.
 */
export async function tablesWithProcesses(
  catalog: Catalog,
  { tables, healthy, stuck }: { readonly tables: number; readonly healthy: number; readonly stuck: number },
): Promise<void> {
  const busy = healthy + stuck;
  await sql`
    INSERT INTO data_table (name, group_name, location, created_by, status, status_since)
    SELECT 'many-' || n, ${GROUP}, '/nowhere/' || n, 'tester',
      CASE WHEN n > ${busy} THEN 'IDLE' WHEN n > ${healthy} AND (n - ${healthy} - 1) % 10 IN (4, 5, 6) THEN 'COMMITTING'
        ELSE 'MINOR_OPTIMIZING' END,
      now() - interval '1 hour'
    FROM generate_series(1, ${tables}::int) n`.execute(catalog);
  await sql`
    INSERT INTO optimizing_process (table_id, kind, state, base_snapshot, tasks, actor, started_at, committing_since)
    SELECT table_id, 'MINOR', 'RUNNING', 1, 3, 'tester', now() - interval '1 hour',
      CASE WHEN status = 'COMMITTING' THEN now() END
    FROM data_table WHERE status <> 'IDLE' ORDER BY table_id`.execute(catalog);
  // Healthy: one task done and counted, one being merged for a minute, one not begun. Stuck: by its shape.
  await sql`
    INSERT INTO optimizing_task (process_id, task_no, group_name, state, turn, inputs, settled, state_since)
    SELECT p.process_id, t, ${GROUP},
      CASE WHEN n <= ${healthy} THEN (ARRAY['SUCCESS', 'ACKED', 'PLANNED'])[t]
        WHEN kind >= 7 AND t = 1 THEN 'SCHEDULED' ELSE 'SUCCESS' END,
      t, '[]', NOT (n > ${healthy} AND kind < 4 AND t = 3),
      CASE WHEN n <= ${healthy} THEN now() - interval '1 minute' ELSE now() - interval '1 hour' END
    FROM (SELECT p.process_id, substr(d.name, 6)::int AS n, (substr(d.name, 6)::int - ${healthy} - 1) % 10 AS kind
      FROM optimizing_process p JOIN data_table d USING (table_id)) p, generate_series(1, 3) t`.execute(
    catalog,
  );
  await sql`ANALYZE`.execute(catalog);
}

interface PlanNode {
  readonly 'Node Type': string;
  readonly 'Relation Name'?: string;
  readonly 'Index Name'?: string;
  readonly 'Actual Rows': number;
  readonly 'Actual Loops': number;
  readonly 'Rows Removed by Filter'?: number;
  readonly Plans?: readonly PlanNode[];
}

/** Runs a statement; answers how many rows its scans read, what they were, and which indexes they used. */
export async function rowsRead(catalog: Catalog, statement: RawBuilder<unknown>) {
  const { rows } = await sql<{ 'QUERY PLAN': [{ Plan: PlanNode }] }>`
    EXPLAIN (ANALYZE, FORMAT JSON) ${statement}`.execute(catalog);
  const scans: string[] = [];
  const uses: string[] = [];
  let read = 0;
  const visit = (node: PlanNode) => {
    if (node['Node Type'].includes('Scan')) {
      const scanned = (node['Actual Rows'] + (node['Rows Removed by Filter'] ?? 0)) * node['Actual Loops'];
      if (node['Relation Name'] !== undefined) read += scanned;
      if (node['Index Name'] !== undefined) uses.push(node['Index Name']);
      scans.push(
        `${node['Node Type']} on ${node['Relation Name']} by ${node['Index Name']}: ${scanned} rows`,
      );
    }
    for (const child of node.Plans ?? []) visit(child);
  };
  visit(rows[0]!['QUERY PLAN'][0].Plan);
  return { read, scans, uses };
}
