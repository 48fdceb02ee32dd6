import { type Selectable, sql } from 'kysely';
import type { Logger } from '../../log.js';
import { isJobOver, isTaskGroupOver } from '../../rules/job-states.js';
import type { Catalog, CatalogTransaction } from '../catalog.js';
import type { CatalogTables, CheckpointPart } from '../schema.js';
import { type JobKey, lockJob, taskGroupsOf } from './rows.js';

export type CheckpointRow = Selectable<CatalogTables['checkpoint']>;

/** A checkpoint that a node wants to be part of the job. */
export interface ProposedCheckpoint extends JobKey {
  readonly nodeId: string;
  readonly pipeline: number;
  readonly taskGroup: number;
  readonly execution: number;
  readonly checkpointId: number;
  readonly position: Buffer;
  readonly parts: readonly CheckpointPart[];
  readonly rowsIn: number;
  readonly rowsOut: number;
  readonly last: boolean;
}

/** Checkpoints of one execution that are kept of a task group: only the newest is ever restored. */
const KEPT = 20;

/**
 * Makes a checkpoint part of the job: one row, under a lock of the job that no execution begins or ends meanwhile. STALE, with
 * the reason, changes nothing: of another execution, of a task group that is over, or of a job that is gone (I6). One that
 * is on record is COMMITTED again, also for an execution that has been replaced since, and after the purge of a job whose
 * savepoint holds it: its parts are what goes on from it.
 */
export async function commitCheckpoint(
  catalog: Catalog,
  proposed: ProposedCheckpoint,
  log: Logger,
): Promise<{ readonly kind: 'COMMITTED' } | { readonly kind: 'STALE'; readonly reason: string }> {
  const key: JobKey = { jobId: proposed.jobId, owner: proposed.owner };
  const { pipeline, taskGroup, checkpointId, execution } = proposed;
  return catalog.transaction().execute(async (transaction) => {
    const stale = (reason: string) => ({ kind: 'STALE' as const, reason });
    const job = await lockJob(transaction, key, 'share');
    if (job === undefined) {
      if (await isInSavepoint(transaction, proposed)) return { kind: 'COMMITTED' as const };
      return stale('the job is purged, or was never claimed by this owner');
    }
    const newest = (await lastCheckpoints(transaction, key)).find(
      (one) => one.pipeline === pipeline && one.task_group === taskGroup,
    );
    const recorded = await transaction
      .selectFrom('checkpoint')
      .select('execution')
      .where('job_id', '=', key.jobId)
      .where('owner', '=', key.owner)
      .where('pipeline', '=', pipeline)
      .where('task_group', '=', taskGroup)
      .where('checkpoint_id', '=', checkpointId)
      .executeTakeFirst();
    if (recorded?.execution === execution) return { kind: 'COMMITTED' as const };
    if (job.execution !== execution) return stale(`the job is at execution ${job.execution}`);
    if (isJobOver(job.state)) return stale(`the job is ${job.state}`);
    const row = (await taskGroupsOf(transaction, key)).find(
      (one) => one.pipeline === pipeline && one.task_group === taskGroup,
    );
    if (row === undefined) return stale('the job has no such task group');
    if (row.node_id !== proposed.nodeId) return stale(`the task group is on ${row.node_id ?? 'no node'}`);
    if (isTaskGroupOver(row.state)) return stale(`the task group is ${row.state}`);
    if (newest !== undefined && checkpointId <= newest.checkpoint_id) {
      return stale(`checkpoint ${newest.checkpoint_id} is committed already`);
    }
    await transaction
      .insertInto('checkpoint')
      .values({
        job_id: key.jobId,
        owner: key.owner,
        pipeline,
        task_group: taskGroup,
        checkpoint_id: checkpointId,
        execution,
        position: proposed.position,
        parts: JSON.stringify(proposed.parts),
        rows_in: proposed.rowsIn,
        rows_out: proposed.rowsOut,
        last: proposed.last,
      })
      .execute();
    await transaction
      .deleteFrom('checkpoint')
      .where('job_id', '=', key.jobId)
      .where('owner', '=', key.owner)
      .where('pipeline', '=', pipeline)
      .where('task_group', '=', taskGroup)
      .where('execution', '=', execution)
      .where('checkpoint_id', '<=', checkpointId - KEPT)
      .execute();
    log.info(
      {
        job: key.jobId,
        execution,
        pipeline,
        taskGroup,
        checkpoint: checkpointId,
        parts: proposed.parts.length,
      },
      'checkpoint committed',
    );
    return { kind: 'COMMITTED' as const };
  });
}

/** Savepoints stay when their job is purged. */
async function isInSavepoint(
  transaction: CatalogTransaction,
  { jobId, owner, pipeline, taskGroup, checkpointId, execution }: ProposedCheckpoint,
): Promise<boolean> {
  const held = JSON.stringify([{ pipeline, taskGroup, checkpointId, execution }]);
  const savepoint = await transaction
    .selectFrom('savepoint')
    .select('owner')
    .where('job_id', '=', jobId)
    .where('owner', '=', owner)
    .where(sql<boolean>`checkpoints @> ${held}::jsonb`)
    .executeTakeFirst();
  return savepoint !== undefined;
}

/**
 * The last committed checkpoint of each task group that has one; with `before`, of what was committed before that execution:
 * what it restores, which never changes while it runs.
 */
export async function lastCheckpoints(
  catalog: Catalog | CatalogTransaction,
  { jobId, owner }: JobKey,
  { before = Number.MAX_SAFE_INTEGER }: { readonly before?: number } = {},
): Promise<CheckpointRow[]> {
  return catalog
    .selectFrom('checkpoint')
    .distinctOn(['pipeline', 'task_group'])
    .selectAll()
    .where('job_id', '=', jobId)
    .where('owner', '=', owner)
    .where('execution', '<', before)
    .orderBy('pipeline')
    .orderBy('task_group')
    .orderBy('checkpoint_id', 'desc')
    .execute();
}

/** Forgets what a new execution can never restore: all but the last checkpoint of each task group. */
export async function dropOlderCheckpoints(
  transaction: CatalogTransaction,
  { jobId, owner }: JobKey,
): Promise<void> {
  await sql`
    DELETE FROM checkpoint c WHERE c.job_id = ${jobId} AND c.owner = ${owner} AND EXISTS (
      SELECT FROM checkpoint n WHERE n.job_id = c.job_id AND n.owner = c.owner AND n.pipeline = c.pipeline
        AND n.task_group = c.task_group AND n.checkpoint_id > c.checkpoint_id)
  `.execute(transaction);
}
