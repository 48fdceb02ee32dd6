import type { Selectable } from 'kysely';
import { sql } from 'kysely';
import type { ProcessState, TableStatus, TaskState } from '../../rules/optimizing-states.js';
import type { OptimizingKind } from '../../rules/words.js';
import { readSnapshotFile, type SnapshotFile } from '../../warehouse/snapshot-file.js';
import { makeTableDirectory, tableLocation } from '../../warehouse/table-directory.js';
import { type Catalog, type CatalogTransaction, catalogId } from '../catalog.js';
import type { CatalogTables, DataFile, TableColumn } from '../schema.js';
import { countLiveOptimizers } from './groups.js';

export type DataTableRow = Selectable<CatalogTables['data_table']>;

export interface TableStatusRow {
  readonly tableId: number;
  readonly name: string;
  readonly group: string;
  readonly location: string;
  readonly columns: readonly TableColumn[];
  readonly status: TableStatus;
  readonly statusSince: Date;
  /** 0: no snapshot yet. */
  readonly snapshotId: number;
  readonly files: number;
  readonly smallFiles: number;
  readonly undersizedFiles: number;
  readonly rows: number;
  readonly bytes: number;
  readonly createdBy: string;
  readonly createdAt: Date;
}

export interface ProcessStatus {
  readonly processId: number;
  readonly kind: OptimizingKind;
  readonly state: ProcessState;
  readonly baseSnapshot: number;
  readonly actor: string;
  readonly committingSince: Date | null;
  readonly reason: string | null;
  readonly startedAt: Date;
  readonly endedAt: Date | null;
  readonly tasks: readonly TaskStatus[];
}

export interface TaskStatus {
  readonly taskNo: number;
  readonly state: TaskState;
  readonly attempt: number;
  readonly failures: number;
  readonly inputFiles: number;
  readonly resourceId: string | null;
  readonly nodeId: string | null;
  readonly lastError: string | null;
  readonly stateSince: Date;
}

/**
 * Makes a table: its directory first, then its row, so that what has a row has its directory too. EXISTS: there was one of
 * that name; NO_GROUP: there is no such optimizer group.
 */
export async function createTable(
  catalog: Catalog,
  warehouse: string,
  table: {
    readonly name: string;
    readonly group: string;
    /** Empty: the first file has them. */
    readonly columns: readonly TableColumn[];
    readonly actor: string;
  },
): Promise<'CREATED' | 'EXISTS' | 'NO_GROUP'> {
  const group = await catalog
    .selectFrom('optimizer_group')
    .select('name')
    .where('name', '=', table.group)
    .executeTakeFirst();
  if (group === undefined) return 'NO_GROUP';
  if ((await findTable(catalog, table.name)) !== undefined) return 'EXISTS';
  const location = tableLocation(warehouse, await catalogId(catalog), table.name);
  await makeTableDirectory(location);
  const { numInsertedOrUpdatedRows } = await catalog
    .insertInto('data_table')
    .values({
      name: table.name,
      group_name: table.group,
      location,
      columns: table.columns.length === 0 ? null : JSON.stringify(table.columns),
      created_by: table.actor,
    })
    .onConflict((conflict) => conflict.column('name').doNothing())
    .executeTakeFirst();
  return numInsertedOrUpdatedRows === 1n ? 'CREATED' : 'EXISTS';
}

export async function findTable(
  catalog: Catalog | CatalogTransaction,
  name: string,
): Promise<DataTableRow | undefined> {
  return catalog.selectFrom('data_table').selectAll().where('name', '=', name).executeTakeFirst();
}

/** Locks a table's row: the first lock of every transaction that changes its status or its snapshot. */
export async function lockTable(transaction: CatalogTransaction, tableId: number): Promise<DataTableRow> {
  return transaction
    .selectFrom('data_table')
    .selectAll()
    .where('table_id', '=', tableId)
    .forUpdate()
    .executeTakeFirstOrThrow();
}

/** Tables by name, from after that name. */
export async function listTables(
  catalog: Catalog,
  page: { readonly after: string; readonly limit: number },
): Promise<TableStatusRow[]> {
  const rows = await catalog
    .selectFrom('data_table')
    .selectAll()
    .where('name', '>', page.after)
    .orderBy('name')
    .limit(page.limit)
    .execute();
  return rows.map(statusRow);
}

/** The current snapshot of a table; undefined while it has none. */
export async function readCurrentSnapshot(
  catalog: Catalog | CatalogTransaction,
  table: Pick<DataTableRow, 'table_id' | 'snapshot_id' | 'location'>,
): Promise<SnapshotFile | undefined> {
  if (table.snapshot_id === 0) return undefined;
  const { path } = await catalog
    .selectFrom('snapshot')
    .select('path')
    .where('table_id', '=', table.table_id)
    .where('snapshot_id', '=', table.snapshot_id)
    .executeTakeFirstOrThrow();
  return readSnapshotFile(table.location, path);
}

export interface TableDescription {
  readonly table: TableStatusRow;
  readonly files: readonly DataFile[];
  /** The newest process; undefined when there was none. */
  readonly process?: ProcessStatus;
  /** What stands in the way of optimizing, or does not belong together; for people. */
  readonly blockers: readonly string[];
}

/** Everything about one table; undefined when there is none of that name. */
export async function describeTable(catalog: Catalog, name: string): Promise<TableDescription | undefined> {
  return catalog
    .transaction()
    .setIsolationLevel('repeatable read')
    .setAccessMode('read only')
    .execute(async (transaction) => {
      const row = await findTable(transaction, name);
      if (row === undefined) return undefined;
      const snapshot = await readCurrentSnapshot(transaction, row);
      const process = await newestProcess(transaction, row.table_id);
      const live = await countLiveOptimizers(transaction, row.group_name);
      return {
        table: statusRow(row),
        files: snapshot?.files ?? [],
        ...(process && { process }),
        blockers: blockersOf(row, process, live),
      };
    });
}

async function newestProcess(
  transaction: CatalogTransaction,
  tableId: number,
): Promise<ProcessStatus | undefined> {
  const process = await transaction
    .selectFrom('optimizing_process')
    .selectAll()
    .where('table_id', '=', tableId)
    .orderBy('process_id', 'desc')
    .limit(1)
    .executeTakeFirst();
  if (process === undefined) return undefined;
  const tasks = await transaction
    .selectFrom('optimizing_task')
    .select([
      'task_no as taskNo',
      'state',
      'attempt',
      'failures',
      sql<number>`jsonb_array_length(inputs)`.as('inputFiles'),
      'resource_id as resourceId',
      'node_id as nodeId',
      'last_error as lastError',
      'state_since as stateSince',
    ])
    .where('process_id', '=', process.process_id)
    .orderBy('task_no')
    .execute();
  return {
    processId: process.process_id,
    kind: process.kind,
    state: process.state,
    baseSnapshot: process.base_snapshot,
    actor: process.actor,
    committingSince: process.committing_since,
    reason: process.reason,
    startedAt: process.started_at,
    endedAt: process.ended_at,
    tasks,
  };
}

function blockersOf(table: DataTableRow, process: ProcessStatus | undefined, live: number): string[] {
  const { status, group_name: group } = table;
  const running = process?.state === 'RUNNING';
  const busy = status !== 'IDLE' && status !== 'PENDING' && status !== 'PLANNING';
  return [
    ...(live === 0 ? [`group ${group} has no live optimizer`] : []),
    ...(busy && !running ? [`the table is ${status} without a RUNNING process`] : []),
    ...(!busy && running ? [`process ${process.processId} is RUNNING and the table is ${status}`] : []),
    ...(running && process.tasks.length === 0
      ? [`process ${process.processId} is RUNNING without a task`]
      : []),
  ];
}

function statusRow(row: DataTableRow): TableStatusRow {
  return {
    tableId: row.table_id,
    name: row.name,
    group: row.group_name,
    location: row.location,
    columns: row.columns ?? [],
    status: row.status,
    statusSince: row.status_since,
    snapshotId: row.snapshot_id,
    files: row.files,
    smallFiles: row.small_files,
    undersizedFiles: row.undersized_files,
    rows: row.rows,
    bytes: row.bytes,
    createdBy: row.created_by,
    createdAt: row.created_at,
  };
}

/** Names a process and its table; undefined when there is none. */
export async function findProcess(
  catalog: Catalog,
  processId: number,
): Promise<{ readonly processId: number; readonly tableId: number; readonly table: string } | undefined> {
  return catalog
    .selectFrom('optimizing_process as process')
    .innerJoin('data_table', 'data_table.table_id', 'process.table_id')
    .select(['process.process_id as processId', 'data_table.table_id as tableId', 'data_table.name as table'])
    .where('process.process_id', '=', processId)
    .executeTakeFirst();
}
