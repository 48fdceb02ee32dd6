import { join } from 'node:path';
import { sql } from 'kysely';
import { findSnapshotFile } from '../../warehouse/snapshot-file.js';
import { listTableFiles, taskOutput } from '../../warehouse/table-directory.js';
import { removeFile } from '../../warehouse/whole-files.js';
import type { Catalog, CatalogTransaction } from '../catalog.js';
import { type DataTableRow, findTable, lockTable } from './tables.js';

export interface Retention {
  /** So many snapshots are kept, the current one among them. */
  readonly snapshots: number;
  /** And every one that is younger. */
  readonly youngerThanMs: number;
}

export const DEFAULT_RETENTION: Retention = { snapshots: 5, youngerThanMs: 3_600_000 };

export interface SweptFiles {
  /** Paths relative to the table's location, in their order. */
  readonly removed: readonly string[];
  /** Unreferenced, and younger than the grace. */
  readonly young: number;
}

/**
 * Removes the data and metadata files of a table that nothing refers to: no retained snapshot, and no input, output or
 * attempt under way of its RUNNING process. What is younger than `olderThanMs`, by its file, is left alone: an ingestion or
 * a merge may be about to refer to it.
 *
 * Safe beside commits: references are read and files removed with the table's row locked, and a commit makes sure under
 * the same lock that the files it adds are there. Undefined: no such table.
 */
export async function sweepUnreferencedFiles(
  catalog: Catalog,
  name: string,
  olderThanMs: number,
  retention: Retention = DEFAULT_RETENTION,
): Promise<SweptFiles | undefined> {
  const table = await findTable(catalog, name);
  if (table === undefined) return undefined;
  const found = await listTableFiles(table.location);
  if (found.length === 0) return { removed: [], young: 0 };
  // Snapshots do not change once they are there: those of now are read before the lock is taken.
  const snapshots = new SnapshotPaths(table.location);
  await snapshots.read(await retainedSnapshots(catalog, table, retention));
  return catalog.transaction().execute(async (transaction) => {
    const locked = await lockTable(transaction, table.table_id);
    const referenced = await snapshots.read(await retainedSnapshots(transaction, locked, retention));
    for (const path of await pathsOfProcess(transaction, locked)) referenced.add(path);
    const unreferenced = found.filter(({ path }) => !referenced.has(whole(path)));
    const removed: string[] = [];
    for (const { path, ageMs } of unreferenced) {
      if (ageMs < olderThanMs) continue;
      await removeFile(join(table.location, path));
      removed.push(path);
    }
    return { removed: removed.sort(), young: unreferenced.length - removed.length };
  });
}

/** Paths of the metadata files of retained snapshots, newest first. */
async function retainedSnapshots(
  catalog: Catalog | CatalogTransaction,
  table: DataTableRow,
  { snapshots, youngerThanMs }: Retention,
): Promise<string[]> {
  const rows = await catalog
    .selectFrom('snapshot')
    .select('path')
    .where('table_id', '=', table.table_id)
    .where((expression) =>
      expression.or([
        expression('snapshot_id', '>', table.snapshot_id - Math.max(snapshots, 1)),
        expression(
          'created_at',
          '>',
          sql<Date>`now() - make_interval(secs => ${youngerThanMs / 1000})` as never,
        ),
      ]),
    )
    .orderBy('snapshot_id', 'desc')
    .execute();
  return rows.map(({ path }) => path);
}

class SnapshotPaths {
  readonly #read = new Map<string, readonly string[]>();
  constructor(private readonly location: string) {}

  /** Paths of these metadata files, and of all files that they list. */
  async read(metadata: readonly string[]): Promise<Set<string>> {
    const paths = new Set(metadata);
    for (const path of metadata) {
      if (!this.#read.has(path)) {
        // One that a sweep with a shorter retention removed lists nothing any more; the current one is always there.
        const snapshot = await findSnapshotFile(this.location, path);
        this.#read.set(path, snapshot?.files.map((file) => file.path) ?? []);
      }
      for (const file of this.#read.get(path)!) paths.add(file);
    }
    return paths;
  }
}

async function pathsOfProcess(transaction: CatalogTransaction, table: DataTableRow): Promise<string[]> {
  const tasks = await transaction
    .selectFrom('optimizing_task as task')
    .innerJoin('optimizing_process as process', 'process.process_id', 'task.process_id')
    .select(['task.process_id', 'task.task_no', 'task.attempt', 'task.inputs', 'task.outputs'])
    .where('process.table_id', '=', table.table_id)
    .where('process.state', '=', 'RUNNING')
    .execute();
  return tasks.flatMap((task) => [
    ...[...task.inputs, ...(task.outputs ?? [])].map(({ path }) => path),
    taskOutput(task.process_id, task.task_no, task.attempt),
  ]);
}

/** What is partial belongs to the file that it is to become, whatever its name has after that. */
function whole(path: string): string {
  return /^.*?\.(?:parquet|json)/.exec(path)?.[0] ?? path;
}
