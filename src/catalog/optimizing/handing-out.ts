import { sql } from 'kysely';
import { taskOutput } from '../../warehouse/table-directory.js';
import type { Catalog, CatalogTransaction } from '../catalog.js';
import type { DataFile } from '../schema.js';
import type { KnownOptimizer } from './optimizers.js';
import { requireTaskTransition } from './states.js';

/** Names one attempt of a task. */
export interface TaskAttempt {
  readonly processId: number;
  readonly taskNo: number;
  readonly attempt: number;
}

export interface HandedOutTask extends TaskAttempt {
  readonly location: string;
  readonly inputs: readonly DataFile[];
  readonly output: string;
}

/**
 * Hands out the task of the optimizer's group whose turn it is: SCHEDULED to this optimizer. No task is handed out twice:
 * the row is taken by SKIP LOCKED, so that callers do not wait for each other either. The optimizer's row is held
 * meanwhile, so that a new token, which inherits the tasks of this one, sees this one too.
 * Undefined: nothing to do, or the token is not valid any more.
 */
export async function pollTask(
  catalog: Catalog,
  optimizer: Pick<KnownOptimizer, 'token' | 'resourceId' | 'group' | 'nodeId'>,
): Promise<HandedOutTask | undefined> {
  return catalog.transaction().execute(async (transaction) => {
    const valid = await transaction
      .selectFrom('optimizer')
      .select('token')
      .where('token', '=', optimizer.token)
      .forKeyShare()
      .executeTakeFirst();
    if (valid === undefined) return undefined;
    const task = await transaction
      .selectFrom('optimizing_task')
      .select(['process_id', 'task_no', 'attempt', 'state', 'inputs'])
      .where('group_name', '=', optimizer.group)
      .where('state', '=', 'PLANNED')
      .orderBy('turn')
      .orderBy('process_id')
      .orderBy('task_no')
      .limit(1)
      .forUpdate()
      .skipLocked()
      .executeTakeFirst();
    if (task === undefined) return undefined;
    requireTaskTransition(task.state, 'SCHEDULED');
    await transaction
      .updateTable('optimizing_task')
      .set({
        state: 'SCHEDULED',
        token: optimizer.token,
        resource_id: optimizer.resourceId,
        node_id: optimizer.nodeId,
        state_since: sql`now()`,
      })
      .where('process_id', '=', task.process_id)
      .where('task_no', '=', task.task_no)
      .execute();
    const { location } = await transaction
      .selectFrom('optimizing_process as process')
      .innerJoin('data_table', 'data_table.table_id', 'process.table_id')
      .select('data_table.location')
      .where('process.process_id', '=', task.process_id)
      .executeTakeFirstOrThrow();
    return {
      processId: task.process_id,
      taskNo: task.task_no,
      attempt: task.attempt,
      location,
      inputs: task.inputs,
      output: taskOutput(task.process_id, task.task_no, task.attempt),
    };
  });
}

/** SCHEDULED becomes ACKED; asking again is fine. STALE: the attempt is not this optimizer's, or not open any more. */
export async function ackTask(
  catalog: Catalog,
  optimizer: Pick<KnownOptimizer, 'resourceId'>,
  { processId, taskNo, attempt }: TaskAttempt,
): Promise<'ACKED' | 'STALE'> {
  requireTaskTransition('SCHEDULED', 'ACKED');
  const { numUpdatedRows } = await catalog
    .updateTable('optimizing_task')
    .set({ state: 'ACKED', state_since: sql`CASE state WHEN 'SCHEDULED' THEN now() ELSE state_since END` })
    .where('process_id', '=', processId)
    .where('task_no', '=', taskNo)
    .where('attempt', '=', attempt)
    .where('resource_id', '=', optimizer.resourceId)
    .where('state', 'in', ['SCHEDULED', 'ACKED'])
    .executeTakeFirst();
  return numUpdatedRows === 0n ? 'STALE' : 'ACKED';
}

/**
 * A task that is out goes back to PLANNED, under a new attempt: results of the one before are stale from then on (I6).
 * False: it was not out under this attempt any more. Touches the task's row alone.
 */
export async function planTaskAgain(
  catalog: Catalog | CatalogTransaction,
  { processId, taskNo, attempt }: TaskAttempt,
  reason: string,
): Promise<boolean> {
  requireTaskTransition('SCHEDULED', 'PLANNED');
  requireTaskTransition('ACKED', 'PLANNED');
  const { numUpdatedRows } = await catalog
    .updateTable('optimizing_task')
    .set({
      state: 'PLANNED',
      attempt: attempt + 1,
      token: null,
      resource_id: null,
      node_id: null,
      last_error: reason,
      state_since: sql`now()`,
    })
    .where('process_id', '=', processId)
    .where('task_no', '=', taskNo)
    .where('attempt', '=', attempt)
    .where('state', 'in', ['SCHEDULED', 'ACKED'])
    .executeTakeFirst();
  return numUpdatedRows > 0n;
}
