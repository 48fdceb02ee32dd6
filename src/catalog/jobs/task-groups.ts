import { sql } from 'kysely';
import type { EngineNode } from '../../engines/nodes.js';
import type { Logger } from '../../log.js';
import { isJobOver, isTaskGroupOver, type TaskGroupState } from '../../rules/job-states.js';
import type { Catalog, CatalogTransaction } from '../catalog.js';
import { isAlive } from '../nodes.js';
import { oweCancelsOf } from './cancels.js';
import {
  type JobKey,
  lockJob,
  moveTaskGroup,
  settlePipelines,
  type TaskGroupRow,
  taskGroupsOf,
} from './rows.js';

/** A task group of an execution and the node that it is on, as the catalog knows both. */
export interface PlacedTaskGroup {
  readonly pipeline: number;
  readonly taskGroup: number;
  readonly state: TaskGroupState;
  readonly attempt: number;
  readonly rowsIn: number;
  readonly rowsOut: number;
  /** Since it came to its state, by the catalog's clock. */
  readonly ageMs: number;
  readonly node: EngineNode;
  /** The node's last heartbeat is younger than the node time-out. */
  readonly nodeAlive: boolean;
  /** The node came back with another ledger than the one that it was placed on: its disk is gone. */
  readonly otherLedger: boolean;
}

/** The task groups of a job that are in one of these states. */
export async function placedTaskGroups(
  catalog: Catalog,
  { jobId, owner }: JobKey,
  states: readonly TaskGroupState[],
  nodeTimeoutMs: number,
): Promise<PlacedTaskGroup[]> {
  const rows = await catalog
    .selectFrom('task_group')
    .innerJoin('node', 'node.node_id', 'task_group.node_id')
    .select([
      'task_group.pipeline',
      'task_group.task_group',
      'task_group.state',
      'task_group.attempt',
      'task_group.rows_in',
      'task_group.rows_out',
      sql<number>`(extract(epoch FROM clock_timestamp() - task_group.state_since) * 1000)::bigint`.as(
        'age_ms',
      ),
      'node.node_id',
      'node.ledger_id',
      'node.address',
      isAlive(nodeTimeoutMs).as('alive'),
      sql<boolean>`node.ledger_id <> task_group.ledger_id`.as('other_ledger'),
    ])
    .where('task_group.job_id', '=', jobId)
    .where('task_group.owner', '=', owner)
    .where('task_group.state', 'in', states)
    .orderBy('task_group.pipeline')
    .orderBy('task_group.task_group')
    .execute();
  return rows.map((row) => ({
    pipeline: row.pipeline,
    taskGroup: row.task_group,
    state: row.state,
    attempt: row.attempt,
    rowsIn: row.rows_in,
    rowsOut: row.rows_out,
    ageMs: Math.max(0, row.age_ms),
    node: { nodeId: row.node_id, ledgerId: row.ledger_id, address: row.address },
    nodeAlive: row.alive,
    otherLedger: row.other_ledger,
  }));
}

/** What was found out about a task group. */
export type TaskGroupNews = Pick<PlacedTaskGroup, 'pipeline' | 'taskGroup'> &
  (
    | { readonly kind: 'STARTED' }
    | { readonly kind: 'PROGRESS'; readonly rowsIn: number; readonly rowsOut: number }
    | {
        readonly kind: 'ENDED';
        readonly state: 'FINISHED' | 'FAILED' | 'CANCELED';
        readonly rowsIn: number;
        readonly rowsOut: number;
        readonly error?: string;
      }
    /** A verdict of the catalog: `owed`, it may still run on its node, which must be told to end it. */
    | { readonly kind: 'LOST'; readonly error: string; readonly owed: boolean }
  );

/** Records what was found out about task groups of an execution. News of another execution changes nothing (I6). */
export async function recordNews(
  catalog: Catalog,
  key: JobKey,
  execution: number,
  news: readonly TaskGroupNews[],
  log: Logger,
): Promise<void> {
  if (news.length === 0) return;
  await catalog.transaction().execute(async (transaction) => {
    const job = await lockJob(transaction, key);
    if (job === undefined || job.execution !== execution || isJobOver(job.state)) {
      log.warn(
        { job: key.jobId, owner: key.owner, execution, news: news.length },
        'late news of task groups skipped',
      );
      return;
    }
    const rows = await taskGroupsOf(transaction, key);
    for (const one of news) {
      const row = rows.find((found) => found.pipeline === one.pipeline && found.task_group === one.taskGroup);
      if (row !== undefined && !isTaskGroupOver(row.state))
        await record(transaction, row, execution, one, log);
    }
    await settlePipelines(transaction, key, log);
  });
}

async function record(
  transaction: CatalogTransaction,
  row: TaskGroupRow,
  execution: number,
  news: TaskGroupNews,
  log: Logger,
): Promise<void> {
  switch (news.kind) {
    case 'STARTED':
      if (row.state === 'DEPLOYING') await moveTaskGroup(transaction, row, 'RUNNING', {}, log);
      return;
    case 'PROGRESS':
      await updateRow(transaction, row, {
        rows_in: Math.max(row.rows_in, news.rowsIn),
        rows_out: Math.max(row.rows_out, news.rowsOut),
      });
      return;
    case 'ENDED':
      await moveTaskGroup(
        transaction,
        row,
        news.state,
        { rows_in: news.rowsIn, rows_out: news.rowsOut, error: news.error ?? null },
        log,
      );
      return;
    case 'LOST':
      if (await moveTaskGroup(transaction, row, 'FAILED', { error: news.error }, log)) {
        if (news.owed) await oweCancelsOf(transaction, [row], { execution, savepoint: false });
      }
      return;
  }
}

async function updateRow(
  transaction: CatalogTransaction,
  row: TaskGroupRow,
  changes: Partial<Pick<TaskGroupRow, 'rows_in' | 'rows_out'>>,
): Promise<void> {
  await transaction
    .updateTable('task_group')
    .set(changes)
    .where('job_id', '=', row.job_id)
    .where('owner', '=', row.owner)
    .where('pipeline', '=', row.pipeline)
    .where('task_group', '=', row.task_group)
    .execute();
}

/** How a task group ended, as its node reports it. */
export interface ReportedEnd extends JobKey {
  readonly nodeId: string;
  readonly pipeline: number;
  readonly taskGroup: number;
  readonly execution: number;
  readonly state: 'FINISHED' | 'FAILED' | 'CANCELED';
  readonly rowsIn: number;
  readonly rowsOut: number;
  readonly error: string;
}

/**
 * Records an end that a node reports. STALE, with the reason, changes nothing (I6). The same end again is RECORDED again.
 * `decides`: the job cannot go on as it is, so that its workflow should be told.
 */
export async function recordEnd(
  catalog: Catalog,
  end: ReportedEnd,
  log: Logger,
): Promise<
  | { readonly kind: 'RECORDED'; readonly decides: boolean }
  | { readonly kind: 'STALE'; readonly reason: string }
> {
  return catalog.transaction().execute(async (transaction) => {
    const stale = (reason: string) => ({ kind: 'STALE' as const, reason });
    const job = await lockJob(transaction, end);
    if (job === undefined) return stale('the job is purged, or was never claimed by this owner');
    if (job.execution !== end.execution) return stale(`the job is at execution ${job.execution}`);
    if (isJobOver(job.state)) return stale(`the job is ${job.state}`);
    const row = (await taskGroupsOf(transaction, end)).find(
      (one) => one.pipeline === end.pipeline && one.task_group === end.taskGroup,
    );
    if (row === undefined) return stale('the job has no such task group');
    if (row.node_id !== end.nodeId) return stale(`the task group is on ${row.node_id ?? 'no node'}`);
    if (isTaskGroupOver(row.state) && row.state !== end.state) return stale(`the task group is ${row.state}`);
    if (!isTaskGroupOver(row.state)) {
      const changes = { rows_in: end.rowsIn, rows_out: end.rowsOut, error: end.error || null };
      await moveTaskGroup(transaction, row, end.state, changes, log);
    }
    const rows = await settlePipelines(transaction, end, log);
    const decides = end.state !== 'FINISHED' || rows.every(({ state }) => isTaskGroupOver(state));
    return { kind: 'RECORDED' as const, decides: decides && job.state === 'RUNNING' };
  });
}
