import { sql } from 'kysely';
import { type Graces, judgeTask, shapeOfProcess } from '../../rules/stuck.js';
import type { Catalog, CatalogTransaction } from '../catalog.js';
import { planTaskAgain, type TaskAttempt } from './handing-out.js';
import { lockProcess } from './settling.js';

/**
 * S4: a task that nobody works on is PLANNED again, under the next attempt. Verified again under the locks of process and
 * task: it is still handed out, for long enough; whether anybody works on it was asked before. False: it is not so any
 * more, and nothing was changed.
 */
export async function replanTask(
  catalog: Catalog,
  task: TaskAttempt,
  graces: Graces,
  reason: string,
): Promise<boolean> {
  return catalog.transaction().execute(async (transaction) => {
    if (!(await holdRunning(transaction, task.processId))) return false;
    const found = await transaction
      .selectFrom('optimizing_task')
      .select([
        'state',
        'attempt',
        sql<number>`(extract(epoch FROM now() - state_since) * 1000)::bigint`.as('ageMs'),
      ])
      .where('process_id', '=', task.processId)
      .where('task_no', '=', task.taskNo)
      .forUpdate()
      .executeTakeFirst();
    if (found === undefined || found.attempt !== task.attempt) return false;
    const verdict = judgeTask({ ...found, optimizerAlive: false, nodeId: undefined }, graces);
    return verdict.kind === 'REPLAN' && planTaskAgain(transaction, task, reason);
  });
}

/** S3, verified under the locks of table and process: whether the process still waits for its commit. */
export async function awaitsCommit(catalog: Catalog, processId: number, graces: Graces): Promise<boolean> {
  return catalog.transaction().execute(async (transaction) => {
    const locked = await lockProcess(transaction, processId);
    if (locked === undefined) return false;
    const { table, process } = locked;
    const { rows } = await sql<{ statusMs: number }>`
      SELECT (extract(epoch FROM now() - ${table.status_since}::timestamptz) * 1000)::bigint AS "statusMs"
    `.execute(transaction);
    const facts = {
      process: process.state,
      table: table.status,
      tasks: process.tasks,
      succeeded: process.tasks,
      failed: 0,
      lastOutcomeMs: 0,
      statusMs: rows[0]!.statusMs,
      committing: process.committing_since !== null,
    };
    return shapeOfProcess(facts, graces) === 'S3';
  });
}

/** Holds the process as it is, so that its tasks do not end with it meanwhile; false: it is over. */
async function holdRunning(transaction: CatalogTransaction, processId: number): Promise<boolean> {
  const process = await transaction
    .selectFrom('optimizing_process')
    .select('state')
    .where('process_id', '=', processId)
    .forShare()
    .executeTakeFirst();
  return process?.state === 'RUNNING';
}
