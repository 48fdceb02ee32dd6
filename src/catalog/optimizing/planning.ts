import { sql } from 'kysely';
import {
  countFiles,
  dueKind,
  type FileCounts,
  MAJOR_UNDERSIZED_FILES,
  MINOR_SMALL_FILES,
  planTasks,
} from '../../rules/optimizing-plan.js';
import type { TableStatus } from '../../rules/optimizing-states.js';
import type { OptimizingKind } from '../../rules/words.js';
import type { Catalog, CatalogTransaction } from '../catalog.js';
import type { DataFile } from '../schema.js';
import { countLiveOptimizers, optimizerIsAlive } from './groups.js';
import { moveTable } from './states.js';
import { type DataTableRow, findTable, lockTable, readCurrentSnapshot } from './tables.js';

/** A table that is PLANNING for longer belongs to a planner that is gone. */
const PLANNING_TIMEOUT_MS = 30_000;

/**
 * Names of the tables that planning is to look at: enough small or undersized files and no process, asked for
 * by name and not planned yet, or left PLANNING. What is PENDING counts when its group has a live optimizer. Four indexes
 * answer it: its cost follows the number of these tables, not of all.
 */
export async function duePlanning(catalog: Catalog, limit: number): Promise<string[]> {
  const { rows } = await duePlanningQuery(limit).execute(catalog);
  return rows.map(({ name }) => name);
}

export function duePlanningQuery(limit: number) {
  const free = sql`status IN ('IDLE', 'PENDING') AND (status = 'IDLE' OR EXISTS (
    SELECT FROM optimizer WHERE optimizer.group_name = data_table.group_name AND ${optimizerIsAlive()}))`;
  return sql<{ name: string }>`
    (SELECT name FROM data_table WHERE small_files >= ${MINOR_SMALL_FILES} AND ${free} LIMIT ${limit})
    UNION
    (SELECT name FROM data_table WHERE undersized_files >= ${MAJOR_UNDERSIZED_FILES} AND ${free} LIMIT ${limit})
    UNION
    (SELECT name FROM data_table WHERE wanted_kind IS NOT NULL AND ${free} LIMIT ${limit})
    UNION
    (SELECT name FROM data_table
      WHERE status NOT IN ('IDLE', 'PENDING') AND status = 'PLANNING' AND status_since < ${planningTimedOut()} LIMIT ${limit})
    ORDER BY name LIMIT ${limit}`;
}

export type PlanVerdict =
  | {
      readonly kind: 'PLANNED';
      readonly processId: number;
      readonly optimizing: OptimizingKind;
      readonly tasks: number;
      readonly inputFiles: number;
    }
  /** Its files call for nothing, or there are no two to merge. */
  | { readonly kind: 'NOTHING_TO_DO' }
  /** It is to be optimized, and its group has no live optimizer: the table waits as PENDING. */
  | { readonly kind: 'NO_OPTIMIZER'; readonly group: string }
  /** It is being optimized, or planned by another one. */
  | { readonly kind: 'BUSY'; readonly status: TableStatus; readonly processId: number | undefined }
  | { readonly kind: 'UNKNOWN_TABLE' };

export interface PlanOptions {
  readonly actor: string;
  /**
   * Given: that, whether there is enough of it or not; the table remembers it until it is planned. Absent: what was asked for
   * before and is not planned yet, or else what the thresholds call for.
   */
  readonly kind?: OptimizingKind | undefined;
  readonly targetFileBytes: number;
}

/**
 * Plans one process for a table. Two transactions, each with the table's row locked first: the table becomes PLANNING;
 * then the process with its tasks is made and the table becomes *_OPTIMIZING, unless the snapshot that was planned for is
 * not the current one any more: then it is planned anew. Files are read between the two. A planner that dies leaves the
 * table PLANNING; another one takes that over after a while, and of two only one makes the process.
 */
export async function planTable(catalog: Catalog, name: string, options: PlanOptions): Promise<PlanVerdict> {
  const begun = await beginPlanning(catalog, name, options);
  if ('kind' in begun) return begun;
  for (;;) {
    const table = await catalog
      .selectFrom('data_table')
      .selectAll()
      .where('table_id', '=', begun.tableId)
      .executeTakeFirstOrThrow();
    const files = (await readCurrentSnapshot(catalog, table))?.files ?? [];
    const optimizing = table.wanted_kind ?? dueKind(files, options.targetFileBytes);
    const tasks = optimizing === undefined ? [] : planTasks(optimizing, files, options.targetFileBytes);
    const verdict = await catalog.transaction().execute(async (transaction) => {
      const locked = await lockTable(transaction, table.table_id);
      if (locked.status !== 'PLANNING') return busy(transaction, locked);
      if (locked.snapshot_id !== table.snapshot_id) return undefined;
      if (optimizing === undefined || tasks.length === 0) {
        await moveTable(transaction, locked, 'IDLE');
        await want(transaction, locked, null);
        await correctCounts(transaction, locked, countFiles(files, options.targetFileBytes));
        return { kind: 'NOTHING_TO_DO' as const };
      }
      return insertProcess(transaction, locked, optimizing, tasks, options.actor);
    });
    if (verdict !== undefined) return verdict;
  }
}

async function beginPlanning(
  catalog: Catalog,
  name: string,
  { kind }: PlanOptions,
): Promise<PlanVerdict | { readonly tableId: number }> {
  return catalog.transaction().execute(async (transaction) => {
    const found = await findTable(transaction, name);
    if (found === undefined) return { kind: 'UNKNOWN_TABLE' };
    const table = await lockTable(transaction, found.table_id);
    const wanted = kind ?? table.wanted_kind;
    if (table.status === 'PLANNING') {
      if (!(await hasTimedOut(transaction, table))) return busy(transaction, table);
      await want(transaction, table, wanted);
      return { tableId: table.table_id };
    }
    if (table.status !== 'IDLE' && table.status !== 'PENDING') return busy(transaction, table);
    if (wanted === null ? !isDue(table) : table.files < 2) {
      if (table.status === 'PENDING') await moveTable(transaction, table, 'IDLE');
      await want(transaction, table, null);
      return { kind: 'NOTHING_TO_DO' };
    }
    await want(transaction, table, wanted);
    if ((await countLiveOptimizers(transaction, table.group_name)) === 0) {
      if (table.status === 'IDLE') await moveTable(transaction, table, 'PENDING');
      return { kind: 'NO_OPTIMIZER', group: table.group_name };
    }
    await moveTable(transaction, table, 'PLANNING');
    return { tableId: table.table_id };
  });
}

/** Remembers what is asked for, so that whoever plans the table next, and whenever, plans that. */
async function want(
  transaction: CatalogTransaction,
  { table_id, wanted_kind }: DataTableRow,
  kind: OptimizingKind | null,
): Promise<void> {
  if (wanted_kind === kind) return;
  await transaction
    .updateTable('data_table')
    .set({ wanted_kind: kind })
    .where('table_id', '=', table_id)
    .execute();
}

/** Counts that were made for another target size would make the table due for ever. */
async function correctCounts(
  transaction: CatalogTransaction,
  table: DataTableRow,
  { smallFiles, undersizedFiles }: FileCounts,
): Promise<void> {
  await transaction
    .updateTable('data_table')
    .set({ small_files: smallFiles, undersized_files: undersizedFiles })
    .where('table_id', '=', table.table_id)
    .execute();
}

async function insertProcess(
  transaction: CatalogTransaction,
  table: DataTableRow,
  kind: OptimizingKind,
  tasks: readonly (readonly DataFile[])[],
  actor: string,
): Promise<PlanVerdict> {
  const { process_id } = await transaction
    .insertInto('optimizing_process')
    .values({
      table_id: table.table_id,
      kind,
      state: 'RUNNING',
      base_snapshot: table.snapshot_id,
      tasks: tasks.length,
      actor,
    })
    .returning('process_id')
    .executeTakeFirstOrThrow();
  const turn = await currentTurn(transaction, table.group_name);
  await transaction
    .insertInto('optimizing_task')
    .values(
      tasks.map((inputs, index) => ({
        process_id,
        task_no: index + 1,
        group_name: table.group_name,
        state: 'PLANNED' as const,
        turn: turn + index,
        inputs: JSON.stringify(inputs),
      })),
    )
    .execute();
  await moveTable(transaction, table, `${kind}_OPTIMIZING`);
  await want(transaction, table, null);
  return {
    kind: 'PLANNED',
    processId: process_id,
    optimizing: kind,
    tasks: tasks.length,
    inputFiles: tasks.flat().length,
  };
}

/**
 * The turn that the group is at. The first task of a new process is on a level with the task that is next, so that it
 * neither waits for all tasks of those before it nor keeps them waiting for ever.
 */
async function currentTurn(transaction: CatalogTransaction, group: string): Promise<number> {
  const next = await transaction
    .selectFrom('optimizing_task')
    .select('turn')
    .where('group_name', '=', group)
    .where('state', '=', 'PLANNED')
    .orderBy('turn')
    .limit(1)
    .executeTakeFirst();
  return next?.turn ?? 0;
}

function isDue(table: DataTableRow): boolean {
  return table.small_files >= MINOR_SMALL_FILES || table.undersized_files >= MAJOR_UNDERSIZED_FILES;
}

async function hasTimedOut(transaction: CatalogTransaction, table: DataTableRow): Promise<boolean> {
  const row = await transaction
    .selectFrom('data_table')
    .select(sql<boolean>`status_since < ${planningTimedOut()}`.as('timedOut'))
    .where('table_id', '=', table.table_id)
    .executeTakeFirstOrThrow();
  return row.timedOut;
}

function planningTimedOut() {
  return sql<Date>`now() - make_interval(secs => ${PLANNING_TIMEOUT_MS / 1000})`;
}

async function busy(transaction: CatalogTransaction, table: DataTableRow): Promise<PlanVerdict> {
  const process = await transaction
    .selectFrom('optimizing_process')
    .select('process_id')
    .where('table_id', '=', table.table_id)
    .where('state', '=', 'RUNNING')
    .executeTakeFirst();
  return { kind: 'BUSY', status: table.status, processId: process?.process_id };
}
