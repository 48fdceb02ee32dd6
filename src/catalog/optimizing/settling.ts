import { sql } from 'kysely';
import { MAX_TASK_FAILURES, type TableStatus } from '../../rules/optimizing-states.js';
import { isOptimizing } from '../../rules/stuck.js';
import type { ProcessRef } from '../../rules/words.js';
import type { Catalog, CatalogTransaction } from '../catalog.js';
import { endProcess, moveTable, requireTaskTransition } from './states.js';

export type SettleVerdict =
  /** All tasks are SUCCESS, and the table is COMMITTING: `began` by this call, or before it. commitTable is to run. */
  | (ProcessRef & { readonly kind: 'COMMITTING'; readonly began: boolean })
  /** Tasks are open. */
  | (ProcessRef & { readonly kind: 'OPEN'; readonly open: number })
  /** A task failed for the last time: the process is FAILED and the table IDLE. */
  | (ProcessRef & { readonly kind: 'FAILED'; readonly reason: string })
  /** The process ended before. */
  | (ProcessRef & { readonly kind: 'OVER' })
  /** The states do not belong together; nothing was changed. */
  | (ProcessRef & { readonly kind: 'UNLIKE'; readonly status: TableStatus; readonly reason: string })
  | { readonly kind: 'UNKNOWN' };

/**
 * T2: counts the tasks of a process again, and acts on what it finds: all SUCCESS begins the commit (exactly once for a
 * process), a failed task is planned again or ends the process. Repeating it is harmless.
 *
 * One transaction. It locks the table's row, then the process's row, then rows of tasks in the order of their key; each
 * lock is waited for at most `lock_timeout`, after which all of it is undone and may be asked again. Of several that run
 * at once each counts what was committed before it got the table's row, so that the last one sees every task.
 */
export async function settleProcess(catalog: Catalog, processId: number): Promise<SettleVerdict> {
  return catalog.transaction().execute(async (transaction) => {
    const locked = await lockProcess(transaction, processId);
    if (locked === undefined) return { kind: 'UNKNOWN' };
    const { table, process } = locked;
    const ref = { processId, tableId: table.table_id, table: table.name };
    if (process.state !== 'RUNNING') return { kind: 'OVER', ...ref };
    if (table.status === 'COMMITTING') return { kind: 'COMMITTING', began: false, ...ref };
    if (!isOptimizing(table.status)) {
      return {
        kind: 'UNLIKE',
        status: table.status,
        reason: `the process is RUNNING and its table ${table.status}`,
        ...ref,
      };
    }
    const tasks = await settleTasks(transaction, processId);
    if (tasks.length === 0) {
      return { kind: 'UNLIKE', status: table.status, reason: 'the process has no tasks', ...ref };
    }
    const lost = tasks.find(({ state, failures }) => state === 'FAILED' && failures >= MAX_TASK_FAILURES);
    if (lost !== undefined) {
      const reason = `task ${processId}/${lost.task_no} failed ${lost.failures} times: ${lost.last_error}`;
      await endProcess(transaction, table, process, 'FAILED', reason);
      return { kind: 'FAILED', reason, ...ref };
    }
    for (const task of tasks) if (task.state === 'FAILED') await planAgain(transaction, processId, task);
    const open = tasks.filter(({ state }) => state !== 'SUCCESS').length;
    if (open > 0) return { kind: 'OPEN', open, ...ref };
    await beginCommitting(transaction, table, processId);
    return { kind: 'COMMITTING', began: true, ...ref };
  });
}

/** Locks the row of the process's table, then its own; undefined when there is no such process. */
export async function lockProcess(transaction: CatalogTransaction, processId: number) {
  const known = await transaction
    .selectFrom('optimizing_process')
    .select('table_id')
    .where('process_id', '=', processId)
    .executeTakeFirst();
  if (known === undefined) return undefined;
  const table = await transaction
    .selectFrom('data_table')
    .selectAll()
    .where('table_id', '=', known.table_id)
    .forUpdate()
    .executeTakeFirstOrThrow();
  const process = await transaction
    .selectFrom('optimizing_process')
    .selectAll()
    .where('process_id', '=', processId)
    .forUpdate()
    .executeTakeFirstOrThrow();
  return { table, process };
}

/**
 * Marks outcomes as seen, then counts: what commits between the two statements is counted and stays unsettled, never the
 * other way round.
 */
async function settleTasks(transaction: CatalogTransaction, processId: number) {
  await transaction
    .selectFrom('optimizing_task')
    .select('task_no')
    .where('process_id', '=', processId)
    .where('settled', '=', false)
    .orderBy('task_no')
    .forUpdate()
    .execute();
  await transaction
    .updateTable('optimizing_task')
    .set({ settled: true })
    .where('process_id', '=', processId)
    .where('settled', '=', false)
    .where('state', 'in', ['SUCCESS', 'FAILED'])
    .execute();
  return transaction
    .selectFrom('optimizing_task')
    .select(['task_no', 'state', 'attempt', 'failures', 'last_error'])
    .where('process_id', '=', processId)
    .orderBy('task_no')
    .execute();
}

async function planAgain(
  transaction: CatalogTransaction,
  processId: number,
  task: { readonly task_no: number; readonly attempt: number },
): Promise<void> {
  requireTaskTransition('FAILED', 'PLANNED');
  await transaction
    .updateTable('optimizing_task')
    .set({
      state: 'PLANNED',
      attempt: task.attempt + 1,
      settled: true,
      token: null,
      resource_id: null,
      node_id: null,
      state_since: sql`now()`,
    })
    .where('process_id', '=', processId)
    .where('task_no', '=', task.task_no)
    .where('state', '=', 'FAILED')
    .execute();
}

/** Once for a process: its table is *_OPTIMIZING, and leaves that for good. */
async function beginCommitting(
  transaction: CatalogTransaction,
  table: { readonly table_id: number; readonly status: TableStatus },
  processId: number,
): Promise<void> {
  const { numUpdatedRows } = await transaction
    .updateTable('optimizing_process')
    .set({ committing_since: sql`now()` })
    .where('process_id', '=', processId)
    .where('committing_since', 'is', null)
    .executeTakeFirst();
  if (numUpdatedRows === 0n) throw new Error(`process ${processId} began committing before`);
  await moveTable(transaction, table, 'COMMITTING');
}
