import { join } from 'node:path';
import { convertToParquet, type FileFormat } from '../../warehouse/conversion.js';
import { newDataFile } from '../../warehouse/table-directory.js';
import { removeFile } from '../../warehouse/whole-files.js';
import type { Catalog, CatalogTransaction } from '../catalog.js';
import type { DataFile } from '../schema.js';
import { commitSnapshot } from './snapshots.js';
import { findTable } from './tables.js';

export interface Ingestion {
  readonly table: string;
  /** Absolute path of what is ingested. */
  readonly file: string;
  readonly format: FileFormat;
  /** Names it within the table: asked again with one name, it is ingested once. */
  readonly request: string;
  /** SHA-256 of the file, in hex. */
  readonly digest: string;
}

export type IngestVerdict =
  | { readonly kind: 'INGESTED'; readonly snapshotId: number; readonly rows: number }
  /** It was ingested before under this request. */
  | { readonly kind: 'KNOWN'; readonly snapshotId: number }
  /** The request ingested another file before. */
  | { readonly kind: 'OTHER_FILE' }
  | { readonly kind: 'UNKNOWN_TABLE' };

/**
 * Adds one file to a table: Parquet of its own below the table, then a snapshot that lists it. The columns are the
 * table's; the first file that is ingested fixes those of a table that has none.
 *
 * @throws FileRejected when the file is malformed or does not fit: nothing is ingested
 */
export async function ingestFile(
  catalog: Catalog,
  ingestion: Ingestion,
  options: { readonly targetFileBytes: number },
): Promise<IngestVerdict> {
  for (;;) {
    const table = await findTable(catalog, ingestion.table);
    if (table === undefined) return { kind: 'UNKNOWN_TABLE' };
    const known = await findIngested(catalog, table.table_id, ingestion);
    if (known !== undefined) return known;

    const path = newDataFile();
    const { columns, rows, bytes } = await convertToParquet(
      ingestion,
      join(table.location, path),
      table.columns ?? undefined,
    );
    const file: DataFile = { path, rows, bytes };
    const verdict = await commitSnapshot<IngestVerdict | 'OTHER_COLUMNS'>(catalog, table.table_id, {
      author: { request: ingestion.request, digest: ingestion.digest },
      targetFileBytes: options.targetFileBytes,
      change(current, now) {
        // The first file of another ingestion was faster.
        if (now.columns !== null && table.columns === null) return { instead: 'OTHER_COLUMNS' };
        return { change: { columns, files: [...(current?.files ?? []), file], added: [file] } };
      },
      within: (transaction) => findIngested(transaction, table.table_id, ingestion),
    });
    if (verdict.kind === 'COMMITTED') return { kind: 'INGESTED', snapshotId: verdict.snapshotId, rows };
    await removeFile(join(table.location, path));
    // The file lay too long before its commit and was swept, or it has the wrong columns: once more.
    if (verdict.kind === 'INSTEAD' && verdict.instead !== 'OTHER_COLUMNS') return verdict.instead;
  }
}

async function findIngested(
  catalog: Catalog | CatalogTransaction,
  tableId: number,
  { request, digest }: Ingestion,
): Promise<IngestVerdict | undefined> {
  const known = await catalog
    .selectFrom('snapshot')
    .select(['snapshot_id', 'digest'])
    .where('table_id', '=', tableId)
    .where('request', '=', request)
    .executeTakeFirst();
  if (known === undefined) return undefined;
  return known.digest === digest ? { kind: 'KNOWN', snapshotId: known.snapshot_id } : { kind: 'OTHER_FILE' };
}
