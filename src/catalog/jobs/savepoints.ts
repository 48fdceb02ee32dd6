import type { Selectable } from 'kysely';
import type { Catalog, CatalogTransaction } from '../catalog.js';
import type { CatalogTables, SavepointCheckpoint } from '../schema.js';
import { lastCheckpoints } from './checkpoints.js';
import { type JobKey, type JobRow, taskGroupsOf } from './rows.js';

export type SavepointRow = Selectable<CatalogTables['savepoint']>;

/** The newest savepoint of a job id, whoever made it. */
export async function findSavepoint(
  catalog: Catalog | CatalogTransaction,
  jobId: string,
): Promise<SavepointRow | undefined> {
  return catalog
    .selectFrom('savepoint')
    .selectAll()
    .where('job_id', '=', jobId)
    .orderBy('created_at', 'desc')
    .limit(1)
    .executeTakeFirst();
}

/** Keeps the last checkpoint of each task group of a locked job; it stays when the job is purged. */
export async function writeSavepoint(transaction: CatalogTransaction, job: JobRow): Promise<void> {
  const key: JobKey = { jobId: job.job_id, owner: job.owner };
  const last = await lastCheckpoints(transaction, key);
  const taskGroups = await taskGroupsOf(transaction, key);
  const checkpoints: SavepointCheckpoint[] = last.map((one) => ({
    pipeline: one.pipeline,
    taskGroup: one.task_group,
    checkpointId: one.checkpoint_id,
    execution: one.execution,
    position: one.position.toString('base64'),
    parts: one.parts,
    rowsIn: one.rows_in,
    rowsOut: one.rows_out,
  }));
  await transaction
    .insertInto('savepoint')
    .values({
      job_id: job.job_id,
      owner: job.owner,
      actor: job.actor,
      checkpoints: JSON.stringify(checkpoints),
      locations: JSON.stringify(
        taskGroups.map(({ pipeline, task_group }) => ({ pipeline, taskGroup: task_group })),
      ),
    })
    .onConflict((conflict) => conflict.columns(['job_id', 'owner']).doNothing())
    .execute();
}

/** A new owner begins with the checkpoints of a savepoint as its own. */
export async function restoreSavepoint(
  transaction: CatalogTransaction,
  { jobId, owner }: JobKey,
  { checkpoints }: SavepointRow,
): Promise<void> {
  if (checkpoints.length === 0) return;
  await transaction
    .insertInto('checkpoint')
    .values(
      checkpoints.map((one) => ({
        job_id: jobId,
        owner,
        pipeline: one.pipeline,
        task_group: one.taskGroup,
        checkpoint_id: one.checkpointId,
        execution: one.execution,
        position: Buffer.from(one.position, 'base64'),
        parts: JSON.stringify(one.parts),
        rows_in: one.rowsIn,
        rows_out: one.rowsOut,
        // The source may have more by now, or was only interrupted.
        last: false,
      })),
    )
    .execute();
  for (const { pipeline, taskGroup, rowsIn, rowsOut } of checkpoints) {
    await transaction
      .updateTable('task_group')
      .set({ rows_in: rowsIn, rows_out: rowsOut })
      .where('job_id', '=', jobId)
      .where('owner', '=', owner)
      .where('pipeline', '=', pipeline)
      .where('task_group', '=', taskGroup)
      .execute();
  }
}
