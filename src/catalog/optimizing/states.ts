import { sql } from 'kysely';
import {
  mayProcessBecome,
  mayTableBecome,
  mayTaskBecome,
  type ProcessState,
  type TableStatus,
  type TaskState,
} from '../../rules/optimizing-states.js';
import type { CatalogTransaction } from '../catalog.js';

/** A change of state that src/rules/optimizing-states.ts does not allow: the code that asked for it is wrong. */
export class ForbiddenTransition extends Error {
  override readonly name = 'ForbiddenTransition';
  constructor(what: string, from: string, to: string) {
    super(`${what} may not go from ${from} to ${to}`);
  }
}

export function requireTaskTransition(from: TaskState, to: TaskState): void {
  if (!mayTaskBecome(from, to)) throw new ForbiddenTransition('a task', from, to);
}

/** Changes the status of a table whose row the transaction has locked. */
export async function moveTable(
  transaction: CatalogTransaction,
  table: { readonly table_id: number; readonly status: TableStatus },
  to: TableStatus,
): Promise<void> {
  if (!mayTableBecome(table.status, to)) throw new ForbiddenTransition('a table', table.status, to);
  await transaction
    .updateTable('data_table')
    .set({ status: to, status_since: sql`now()` })
    .where('table_id', '=', table.table_id)
    .execute();
}

/**
 * Ends a process whose row and whose table's row the transaction has locked: its open tasks are CANCELED, the table is
 * IDLE.
 */
export async function endProcess(
  transaction: CatalogTransaction,
  table: { readonly table_id: number; readonly status: TableStatus },
  process: { readonly process_id: number; readonly state: ProcessState },
  to: 'SUCCESS' | 'FAILED' | 'CLOSED',
  reason: string | null,
): Promise<void> {
  if (!mayProcessBecome(process.state, to)) throw new ForbiddenTransition('a process', process.state, to);
  const open = (['PLANNED', 'SCHEDULED', 'ACKED', 'FAILED'] as const).filter((state) =>
    mayTaskBecome(state, 'CANCELED'),
  );
  await transaction
    .updateTable('optimizing_task')
    .set({ state: 'CANCELED', settled: true, state_since: sql`now()` })
    .where('process_id', '=', process.process_id)
    .where('state', 'in', open)
    .execute();
  await transaction
    .updateTable('optimizing_task')
    .set({ settled: true })
    .where('process_id', '=', process.process_id)
    .where('settled', '=', false)
    .execute();
  await transaction
    .updateTable('optimizing_process')
    .set({ state: to, reason, ended_at: sql`now()` })
    .where('process_id', '=', process.process_id)
    .execute();
  await moveTable(transaction, table, 'IDLE');
}
