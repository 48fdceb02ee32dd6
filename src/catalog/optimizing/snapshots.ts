import { join } from 'node:path';
import { sql } from 'kysely';
import { countFiles } from '../../rules/optimizing-plan.js';
import { type SnapshotFile, writeSnapshotFile } from '../../warehouse/snapshot-file.js';
import { missingFiles, newMetadataFile } from '../../warehouse/table-directory.js';
import { removeFile } from '../../warehouse/whole-files.js';
import type { Catalog, CatalogTransaction } from '../catalog.js';
import type { DataFile, TableColumn } from '../schema.js';
import { type DataTableRow, lockTable, readCurrentSnapshot } from './tables.js';

/** Who makes a snapshot: asking again finds the one that was made. */
export type SnapshotAuthor =
  | { readonly process: number }
  | { readonly request: string; readonly digest: string };

/** What a snapshot is to list, by what the table has now. */
export interface SnapshotChange {
  readonly columns: readonly TableColumn[];
  readonly files: readonly DataFile[];
  /** Files that are new with it: it is not committed unless they are all there. */
  readonly added: readonly DataFile[];
}

export interface SnapshotRules<Other> {
  readonly author: SnapshotAuthor;
  readonly targetFileBytes: number;
  /** Anything but a change ends the commit with that, and no snapshot. */
  change(
    current: SnapshotFile | undefined,
    table: DataTableRow,
  ): { readonly change: SnapshotChange } | { readonly instead: Other };
  /**
   * In the transaction that makes the snapshot the current one, with the table's row locked: undefined when what it did
   * there goes with the snapshot; anything else, before it changed anything, ends the commit with that and no snapshot.
   */
  within?(transaction: CatalogTransaction, table: DataTableRow): Promise<Other | undefined>;
  /** Told before each step, so that a crash can be tested at each. */
  at?(step: CommitStep): Promise<void> | void;
}

export type CommitStep = 'BEFORE_METADATA' | 'AFTER_METADATA' | 'BEFORE_COMMIT' | 'AFTER_COMMIT';

export type SnapshotVerdict<Other> =
  | { readonly kind: 'COMMITTED'; readonly snapshotId: number }
  | { readonly kind: 'INSTEAD'; readonly instead: Other }
  /** Files that the snapshot adds are gone: no snapshot was made. */
  | { readonly kind: 'FILES_GONE'; readonly paths: readonly string[] };

/**
 * Makes the next snapshot of a table the current one. The snapshot's file is written first, then one transaction locks the
 * table's row, compares its current snapshot with the one that the change was made for, and sets it. Who lost that race
 * makes the change again for the new snapshot. A crash at any point leaves a file to which nothing refers, or nothing.
 */
export async function commitSnapshot<Other>(
  catalog: Catalog,
  tableId: number,
  rules: SnapshotRules<Other>,
): Promise<SnapshotVerdict<Other>> {
  for (;;) {
    const table = await catalog
      .selectFrom('data_table')
      .selectAll()
      .where('table_id', '=', tableId)
      .executeTakeFirstOrThrow();
    const changed = rules.change(await readCurrentSnapshot(catalog, table), table);
    if ('instead' in changed) return { kind: 'INSTEAD', instead: changed.instead };
    const { change } = changed;
    const snapshotId = table.snapshot_id + 1;
    const path = newMetadataFile(snapshotId);
    const { author } = rules;
    await rules.at?.('BEFORE_METADATA');
    await writeSnapshotFile(table.location, path, {
      table: table.name,
      snapshotId,
      parent: table.snapshot_id,
      ...('process' in author ? { process: author.process } : { request: author.request }),
      columns: [...change.columns],
      files: [...change.files],
    });
    await rules.at?.('AFTER_METADATA');
    const verdict = await catalog.transaction().execute(async (transaction) => {
      const locked = await lockTable(transaction, tableId);
      if (locked.snapshot_id !== table.snapshot_id) return 'LOST';
      const gone = await missingFiles(table.location, [...change.added, { path }]);
      if (gone.length > 0) return gone.includes(path) ? 'LOST' : { kind: 'FILES_GONE' as const, paths: gone };
      const instead = await rules.within?.(transaction, locked);
      if (instead !== undefined) return { kind: 'INSTEAD' as const, instead };
      await recordSnapshot(transaction, locked, { snapshotId, path, rules, change });
      await rules.at?.('BEFORE_COMMIT');
      return { kind: 'COMMITTED' as const, snapshotId };
    });
    if (verdict !== 'LOST' && verdict.kind === 'COMMITTED') {
      await rules.at?.('AFTER_COMMIT');
      return verdict;
    }
    await removeFile(join(table.location, path));
    if (verdict !== 'LOST') return verdict;
  }
}

async function recordSnapshot<Other>(
  transaction: CatalogTransaction,
  table: DataTableRow,
  {
    snapshotId,
    path,
    rules: { author, targetFileBytes },
    change: { columns, files },
  }: {
    readonly snapshotId: number;
    readonly path: string;
    readonly rules: SnapshotRules<Other>;
    readonly change: SnapshotChange;
  },
): Promise<void> {
  const rows = files.reduce((total, file) => total + file.rows, 0);
  const counts = countFiles(files, targetFileBytes);
  await transaction
    .insertInto('snapshot')
    .values({
      table_id: table.table_id,
      snapshot_id: snapshotId,
      path,
      process_id: 'process' in author ? author.process : null,
      request: 'request' in author ? author.request : null,
      digest: 'digest' in author ? author.digest : null,
      files: files.length,
      rows,
    })
    .execute();
  await transaction
    .updateTable('data_table')
    .set({
      snapshot_id: snapshotId,
      columns: JSON.stringify(columns),
      files: counts.files,
      small_files: counts.smallFiles,
      undersized_files: counts.undersizedFiles,
      rows,
      bytes: sql<number>`${files.reduce((total, file) => total + file.bytes, 0)}::bigint`,
    })
    .where('table_id', '=', table.table_id)
    .execute();
}
