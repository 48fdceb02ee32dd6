import { sql } from 'kysely';
import { taskOutput } from '../../warehouse/table-directory.js';
import type { Catalog } from '../catalog.js';
import type { DataFile } from '../schema.js';
import type { TaskAttempt } from './handing-out.js';
import { requireTaskTransition } from './states.js';

/** What an attempt of a task came to. */
export type TaskOutcome =
  | { readonly kind: 'MERGED'; readonly outputs: readonly DataFile[] }
  | { readonly kind: 'ERROR'; readonly error: string };

/**
 * RECORDED: on record, now or before. STALE: the task was planned again, is another one's, is over or unknown, or its
 * process is over: nothing was changed (I6).
 */
export type CompletionVerdict = 'RECORDED' | 'STALE';

/**
 * T1: records the outcome of an attempt. Locks and changes the task's row alone. What counts is the attempt, and that the
 * task is out to this resource, whichever token it was handed out under. An optimizer that lost its ack completes all the
 * same. The outcome is unsettled until T2 (`settleProcess`) has seen it. Outputs that have another number of rows than the
 * inputs are no success but a failure of the attempt: no row is ever lost or doubled.
 */
export async function completeTask(
  catalog: Catalog,
  resourceId: string,
  { processId, taskNo, attempt }: TaskAttempt,
  told: TaskOutcome,
): Promise<CompletionVerdict> {
  return catalog.transaction().execute(async (transaction) => {
    const task = await transaction
      .selectFrom('optimizing_task')
      .select(['state', 'attempt', 'resource_id', 'inputs'])
      .where('process_id', '=', processId)
      .where('task_no', '=', taskNo)
      .forUpdate()
      .executeTakeFirst();
    if (task === undefined || task.attempt !== attempt || task.resource_id !== resourceId) return 'STALE';
    if (task.state === 'SUCCESS' || task.state === 'FAILED') return 'RECORDED';
    if (task.state !== 'ACKED' && task.state !== 'SCHEDULED') return 'STALE';
    if (task.state === 'SCHEDULED') requireTaskTransition('SCHEDULED', 'ACKED');
    const outcome = judged(told, task.inputs, taskOutput(processId, taskNo, attempt));
    const state = outcome.kind === 'MERGED' ? 'SUCCESS' : 'FAILED';
    requireTaskTransition('ACKED', state);
    await transaction
      .updateTable('optimizing_task')
      .set({
        state,
        settled: false,
        state_since: sql`now()`,
        ...(outcome.kind === 'MERGED'
          ? { outputs: JSON.stringify(outcome.outputs), last_error: null }
          : { failures: sql<number>`failures + 1`, last_error: outcome.error }),
      })
      .where('process_id', '=', processId)
      .where('task_no', '=', taskNo)
      .execute();
    return 'RECORDED';
  });
}

function judged(outcome: TaskOutcome, inputs: readonly DataFile[], output: string): TaskOutcome {
  if (outcome.kind === 'ERROR') return outcome;
  const strange = outcome.outputs.find(({ path }) => path !== output);
  if (strange !== undefined)
    return { kind: 'ERROR', error: `the output is ${strange.path} instead of ${output}` };
  const [read, written] = [rowsOf(inputs), rowsOf(outcome.outputs)];
  if (outcome.outputs.length === 1 && read === written) return outcome;
  return {
    kind: 'ERROR',
    error: `${outcome.outputs.length} outputs of ${written} rows for ${inputs.length} inputs of ${read} rows`,
  };
}

function rowsOf(files: readonly DataFile[]): number {
  return files.reduce((total, { rows }) => total + rows, 0);
}
