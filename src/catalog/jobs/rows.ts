import { type Selectable, sql } from 'kysely';
import type { Logger } from '../../log.js';
import {
  isJobOver,
  type JobState,
  mayJobBecome,
  mayPipelineBecome,
  mayTaskGroupBecome,
  pipelineStateOf,
  type TaskGroupState,
} from '../../rules/job-states.js';
import type { Catalog, CatalogTransaction } from '../catalog.js';
import type { CatalogTables } from '../schema.js';

/** Which rows: those of one owner of a job id (I7). */
export interface JobKey {
  readonly jobId: string;
  readonly owner: string;
}

export type JobRow = Selectable<CatalogTables['job']>;
export type TaskGroupRow = Selectable<CatalogTables['task_group']>;

/** How a job stands: what every step of its workflow answers. */
export interface JobStanding {
  readonly state: JobState;
  readonly execution: number;
  readonly restarts: number;
  /** Why it is FAILING, FAILED, or was started again. */
  readonly reason?: string;
  /** Of all task groups, once it is over. */
  readonly rows?: { readonly in: number; readonly out: number };
}

/** How a job that the transaction has read stands; the same answer whenever it is asked for. */
export async function standingOf(transaction: CatalogTransaction, job: JobRow): Promise<JobStanding> {
  const { state, execution, restarts, reason } = job;
  const standing = { state, execution, restarts, ...(reason !== null && { reason }) };
  if (!isJobOver(state)) return standing;
  const rows = await taskGroupsOf(transaction, { jobId: job.job_id, owner: job.owner });
  const sum = (column: 'rows_in' | 'rows_out') => rows.reduce((total, row) => total + row[column], 0);
  return { ...standing, rows: { in: sum('rows_in'), out: sum('rows_out') } };
}

/**
 * The job's row, locked: whoever moves anything of a job holds it. `share`: only that no execution begins or ends meanwhile.
 */
export async function lockJob(
  transaction: CatalogTransaction,
  { jobId, owner }: JobKey,
  strength: 'update' | 'share' = 'update',
): Promise<JobRow | undefined> {
  const row = transaction
    .selectFrom('job')
    .selectAll()
    .where('job_id', '=', jobId)
    .where('owner', '=', owner);
  return (strength === 'update' ? row.forUpdate() : row.forShare()).executeTakeFirst();
}

/** Moves a locked job, and notes when. A transition that the rules do not know is logged and skipped. */
export async function moveJob(
  transaction: CatalogTransaction,
  job: JobRow,
  to: JobState,
  changes: Partial<Pick<JobRow, 'reason' | 'execution' | 'restarts'>>,
  log: Logger,
): Promise<JobRow | undefined> {
  if (!mayJobBecome(job.state, to)) {
    log.warn({ job: job.job_id, owner: job.owner, from: job.state, to }, 'transition of a job skipped');
    return undefined;
  }
  const moved = await transaction
    .updateTable('job')
    .set({ state: to, state_since: sql`now()`, ...changes })
    .where('job_id', '=', job.job_id)
    .where('owner', '=', job.owner)
    .returningAll()
    .executeTakeFirstOrThrow();
  await noteState(transaction, moved);
  log.info(
    {
      job: job.job_id,
      owner: job.owner,
      execution: moved.execution,
      from: job.state,
      to,
      reason: moved.reason,
    },
    'job moved',
  );
  return moved;
}

/** Timestamps: a row for each state that a job came to. */
export async function noteState(transaction: CatalogTransaction, job: JobRow): Promise<void> {
  await sql`
    INSERT INTO job_state_time (job_id, owner, step, state, execution)
    SELECT ${job.job_id}, ${job.owner}, coalesce(max(step), 0) + 1, ${job.state}, ${job.execution}
    FROM job_state_time WHERE job_id = ${job.job_id} AND owner = ${job.owner}
  `.execute(transaction);
}

export async function taskGroupsOf(
  transaction: CatalogTransaction,
  { jobId, owner }: JobKey,
): Promise<TaskGroupRow[]> {
  return transaction
    .selectFrom('task_group')
    .selectAll()
    .where('job_id', '=', jobId)
    .where('owner', '=', owner)
    .orderBy('pipeline')
    .orderBy('task_group')
    .execute();
}

/** Moves a task group of a locked job; false when it is not in a state from which it may. */
export async function moveTaskGroup(
  transaction: CatalogTransaction,
  row: TaskGroupRow,
  to: TaskGroupState,
  changes: Partial<Pick<TaskGroupRow, 'error' | 'rows_in' | 'rows_out'>>,
  log: Logger,
): Promise<boolean> {
  const about = {
    job: row.job_id,
    pipeline: row.pipeline,
    taskGroup: row.task_group,
    node: row.node_id,
    from: row.state,
    to,
  };
  if (!mayTaskGroupBecome(row.state, to)) {
    log.warn(about, 'transition of a task group skipped');
    return false;
  }
  await transaction
    .updateTable('task_group')
    .set({ state: to, state_since: sql`now()`, ...changes })
    .where('job_id', '=', row.job_id)
    .where('owner', '=', row.owner)
    .where('pipeline', '=', row.pipeline)
    .where('task_group', '=', row.task_group)
    .execute();
  log.info({ ...about, ...(changes.error && { error: changes.error }) }, 'task group moved');
  return true;
}

/** Brings the pipelines of a locked job to what their task groups say. */
export async function settlePipelines(
  transaction: CatalogTransaction,
  key: JobKey,
  log: Logger,
): Promise<TaskGroupRow[]> {
  const taskGroups = await taskGroupsOf(transaction, key);
  const pipelines = await transaction
    .selectFrom('pipeline')
    .select(['pipeline', 'state'])
    .where('job_id', '=', key.jobId)
    .where('owner', '=', key.owner)
    .execute();
  for (const { pipeline, state } of pipelines) {
    const to = pipelineStateOf(taskGroups.filter((one) => one.pipeline === pipeline).map((one) => one.state));
    if (to === state) continue;
    if (!mayPipelineBecome(state, to)) {
      log.warn({ job: key.jobId, pipeline, from: state, to }, 'transition of a pipeline skipped');
      continue;
    }
    await transaction
      .updateTable('pipeline')
      .set({ state: to, state_since: sql`now()` })
      .where('job_id', '=', key.jobId)
      .where('owner', '=', key.owner)
      .where('pipeline', '=', pipeline)
      .execute();
  }
  return taskGroups;
}

/** `pipeline 1, task group 2` */
export function nameOf({ pipeline, task_group }: Pick<TaskGroupRow, 'pipeline' | 'task_group'>): string {
  return `pipeline ${pipeline}, task group ${task_group}`;
}

export async function readJob(catalog: Catalog, { jobId, owner }: JobKey): Promise<JobRow | undefined> {
  return catalog
    .selectFrom('job')
    .selectAll()
    .where('job_id', '=', jobId)
    .where('owner', '=', owner)
    .executeTakeFirst();
}
