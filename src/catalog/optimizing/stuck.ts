import { type RawBuilder, sql } from 'kysely';
import type { ProcessState, TableStatus } from '../../rules/optimizing-states.js';
import type { Anomaly, Graces, OutTask, ProcessFacts } from '../../rules/stuck.js';
import type { Catalog } from '../catalog.js';
import { optimizerIsAlive } from './groups.js';

/** A process that may be stuck as a whole, and its table. */
export interface StuckProcess extends ProcessFacts {
  readonly processId: number;
  readonly tableId: number;
  readonly name: string;
}

/** A task that was handed out for longer than its grace. */
export interface StuckTask extends OutTask {
  readonly processId: number;
  readonly taskNo: number;
  readonly attempt: number;
  readonly tableId: number;
  readonly name: string;
  readonly process: ProcessState;
  readonly table: TableStatus;
  readonly resourceId: string | undefined;
  /** Since the last heartbeat of its node; Infinity for a node that the catalog does not know. */
  readonly nodeSilentMs: number;
}

export interface FoundAnomaly {
  readonly kind: Anomaly;
  readonly name: string;
  readonly table: TableStatus;
  readonly processId: number | undefined;
}

/**
 * What may be stuck, in all tables or in one. Reads through the partial indexes of what is uncounted, COMMITTING and handed
 * out, so that the cost follows the number of stuck processes and not the number of tables. What each candidate is, the
 * rules say.
 */
export async function findStuck(
  catalog: Catalog,
  graces: Graces,
  table?: string,
): Promise<{ readonly processes: readonly StuckProcess[]; readonly tasks: readonly StuckTask[] }> {
  const uncounted = await uncountedProcesses(graces, table).execute(catalog);
  const committing = await committingProcesses(graces, table).execute(catalog);
  const out = await outTasks(graces, table).execute(catalog);
  return { processes: [...uncounted.rows, ...committing.rows], tasks: out.rows.map(taskOf) };
}

/** The statements of {@link findStuck}, so that it can be shown what they read. */
export function stuckQueries(graces: Graces): readonly RawBuilder<unknown>[] {
  return [uncountedProcesses(graces), committingProcesses(graces), outTasks(graces)];
}

/** S1, and S4 of what FAILED: processes with outcomes that nobody counted. */
function uncountedProcesses(graces: Graces, table?: string): RawBuilder<StuckProcess> {
  return sql<StuckProcess>`
    SELECT ${PROCESS}, t.tasks, t.succeeded, t.failed, t."lastOutcomeMs"
    FROM (
      SELECT DISTINCT process_id FROM optimizing_task
      WHERE NOT settled AND state_since <= ${before(graces.settleGraceMs)}
    ) uncounted
    ${processAndTable(sql`uncounted.process_id`)}
    CROSS JOIN LATERAL (
      SELECT count(*) AS tasks, count(*) FILTER (WHERE state = 'SUCCESS') AS succeeded,
        count(*) FILTER (WHERE state = 'FAILED') AS failed,
        ${ageMs(sql`max(state_since) FILTER (WHERE state IN ('SUCCESS', 'FAILED'))`)} AS "lastOutcomeMs"
      FROM optimizing_task WHERE process_id = p.process_id
    ) t
    WHERE ${named(table)}
    ORDER BY p.process_id
  `;
}

/** S3: processes whose table is COMMITTING. */
function committingProcesses(graces: Graces, table?: string): RawBuilder<StuckProcess> {
  return sql<StuckProcess>`
    SELECT ${PROCESS}, p.tasks, p.tasks AS succeeded, 0 AS failed, 0 AS "lastOutcomeMs"
    FROM data_table d
    JOIN LATERAL (SELECT * FROM optimizing_process WHERE table_id = d.table_id AND state = 'RUNNING' OFFSET 0) p ON true
    WHERE d.status = 'COMMITTING' AND d.status_since <= ${before(graces.commitGraceMs)} AND ${named(table)}
    ORDER BY p.process_id
  `;
}

/** S2 and S4: tasks that were handed out. */
function outTasks(graces: Graces, table?: string): RawBuilder<TaskRow> {
  return sql<TaskRow>`
    SELECT t.process_id AS "processId", t.task_no AS "taskNo", t.attempt, t.state, t.resource_id AS "resourceId",
      t.node_id AS "nodeId", ${ageMs(sql`t.state_since`)} AS "ageMs", ${ageMs(sql`n.last_heartbeat`)} AS "nodeSilentMs",
      d.table_id AS "tableId", d.name, p.state AS process, d.status AS table,
      coalesce(${optimizerIsAlive()}, false) AS "optimizerAlive"
    FROM (
      SELECT * FROM optimizing_task
      WHERE state = 'SCHEDULED' AND state_since <= ${before(graces.ackTimeoutMs)}
      UNION ALL
      SELECT * FROM optimizing_task
      WHERE state = 'ACKED' AND state_since <= ${before(graces.resultGraceMs)}
    ) t
    ${processAndTable(sql`t.process_id`)}
    LEFT JOIN optimizer ON optimizer.resource_id = t.resource_id
    LEFT JOIN node n ON n.node_id = t.node_id
    WHERE ${named(table)}
    ORDER BY t.process_id, t.task_no
  `;
}

/**
 * What no heal mends, for a person to look at. Its cost follows the number of running processes and of busy tables, not of
 * all tables. What is younger than `graceMs` may only be on its way.
 */
export async function findAnomalies(
  catalog: Catalog,
  graceMs: number,
  table?: string,
): Promise<FoundAnomaly[]> {
  const { rows } = await sql<FoundAnomaly>`
    SELECT 'PROCESS_WITHOUT_TASKS' AS kind, d.name, d.status AS table, p.process_id AS "processId"
    FROM optimizing_process p JOIN data_table d ON d.table_id = p.table_id
    WHERE p.state = 'RUNNING' AND p.started_at <= ${before(graceMs)} AND ${named(table)}
      AND NOT EXISTS (SELECT FROM optimizing_task t WHERE t.process_id = p.process_id)
    UNION ALL
    SELECT 'TABLE_WITHOUT_PROCESS', d.name, d.status, NULL
    FROM data_table d
    WHERE d.status NOT IN ('IDLE', 'PENDING') AND d.status <> 'PLANNING' AND d.status_since <= ${before(graceMs)}
      AND ${named(table)}
      AND NOT EXISTS (SELECT FROM optimizing_process p WHERE p.table_id = d.table_id AND p.state = 'RUNNING')
    ORDER BY 2
  `.execute(catalog);
  return rows.map((row) => ({ ...row, processId: row.processId ?? undefined }));
}

/** How many processes run, counted up to `most`. */
export async function countRunning(catalog: Catalog, most: number): Promise<number> {
  const { rows } = await sql<{ running: number }>`
    SELECT count(*) AS running
    FROM (SELECT FROM optimizing_process WHERE state = 'RUNNING' LIMIT ${most}) counted
  `.execute(catalog);
  return rows[0]!.running;
}

interface TaskRow extends Omit<StuckTask, 'resourceId' | 'nodeId' | 'nodeSilentMs'> {
  readonly resourceId: string | null;
  readonly nodeId: string | null;
  readonly nodeSilentMs: number | null;
}

function taskOf({ resourceId, nodeId, nodeSilentMs, ...task }: TaskRow): StuckTask {
  return {
    ...task,
    resourceId: resourceId ?? undefined,
    nodeId: nodeId ?? undefined,
    nodeSilentMs: nodeSilentMs ?? Number.POSITIVE_INFINITY,
  };
}

const PROCESS = sql`
  p.process_id AS "processId", p.state AS process, p.committing_since IS NOT NULL AS committing,
  d.table_id AS "tableId", d.name, d.status AS table, ${ageMs(sql`d.status_since`)} AS "statusMs"`;

/**
 * The process `p`, when it is RUNNING, and its table `d`. OFFSET 0 has each looked up by its key, for each candidate: what is
 * stuck is few, whatever the planner makes of it, and reading all processes to join them is what must not happen.
 */
function processAndTable(processId: RawBuilder<unknown>) {
  return sql`
    JOIN LATERAL (SELECT * FROM optimizing_process WHERE process_id = ${processId} OFFSET 0) p ON p.state = 'RUNNING'
    JOIN LATERAL (SELECT * FROM data_table WHERE table_id = p.table_id OFFSET 0) d ON true`;
}

function before(graceMs: number) {
  return sql`now() - make_interval(secs => ${graceMs / 1000})`;
}

function ageMs(since: RawBuilder<unknown>) {
  return sql<number>`(extract(epoch FROM now() - ${since}) * 1000)::bigint`;
}

function named(table: string | undefined) {
  return table === undefined ? sql<boolean>`true` : sql<boolean>`d.name = ${table}`;
}
