import { Kysely, type Migration, Migrator, PostgresDialect, sql, type Transaction } from 'kysely';
import pg from 'pg';
import type { Settings } from '../model/settings.js';
import { connectionsTo, type DatabaseAddress, explainConnecting } from './connection.js';
import { migrations } from './migrations.js';
import type { CatalogTables } from './schema.js';

/** The catalog: what exists, and who holds it. */
export type Catalog = Kysely<CatalogTables>;
export type CatalogTransaction = Transaction<CatalogTables>;

const INT8_OID = 20;

/** A pool of connections to the catalog. Nothing is opened before the first query; `destroy()` closes all. */
export function openCatalog(
  settings: DatabaseAddress & Pick<Settings, 'lockTimeoutMs' | 'statementTimeoutMs'>,
  options: {
    /** Most that are open at a time. */
    readonly connections: number;
    readonly name: string;
    /** Hears of every statement that failed. */
    readonly onError?: (error: unknown) => void;
  },
): Catalog {
  const pool = new pg.Pool({
    Client: connectionsTo(settings),
    application_name: options.name,
    max: options.connections,
    connectionTimeoutMillis: 5_000,
    lock_timeout: settings.lockTimeoutMs,
    statement_timeout: settings.statementTimeoutMs,
    idle_in_transaction_session_timeout: settings.statementTimeoutMs,
    types: {
      getTypeParser: (oid, format) => (oid === INT8_OID ? Number : pg.types.getTypeParser(oid, format)),
    },
  });
  // A connection that breaks is replaced by the pool, and its query, or the next one, reports what matters. While a
  // transaction has the connection, the pool does not listen: an error that nobody hears would end the process.
  pool.on('error', () => {});
  pool.on('connect', (client) => client.on('error', () => {}));
  return new Kysely<CatalogTables>({
    dialect: new PostgresDialect({
      pool: {
        connect: () =>
          pool.connect().catch((error: unknown) => {
            throw explainConnecting(error, settings);
          }),
        end: () => pool.end(),
      },
    }),
    log: (event) => {
      if (event.level === 'error') options.onError?.(event.error);
    },
  });
}

/**
 * Brings the catalog to the newest migration, under a lock so that several processes may call it at once. A catalog that a
 * newer version has migrated further is left as it is: this version runs on it (src/catalog/migrations.ts).
 */
export async function migrateCatalog(catalog: Catalog): Promise<{ readonly applied: readonly string[] }> {
  if (await isNewer(catalog)) return { applied: [] };
  const { error, results } = await migratorOf(catalog).migrateToLatest();
  if (error !== undefined) {
    const reason = error instanceof Error ? `: ${error.message}` : '';
    throw new Error(`the catalog could not be migrated, and is as it was${reason}`, { cause: error });
  }
  return { applied: (results ?? []).map(({ migrationName }) => migrationName) };
}

export interface MigrationStatus {
  /** In the order in which they were applied. */
  readonly applied: readonly string[];
  /** Those of this version that the catalog lacks. */
  readonly missing: readonly string[];
  /** Those that this version does not know. */
  readonly unknown: readonly string[];
}

/** Of a database without any migration: all are missing. */
export async function migrationStatus(catalog: Catalog): Promise<MigrationStatus> {
  const applied = await appliedMigrations(catalog);
  return {
    applied,
    missing: Object.keys(migrations).filter((name) => !applied.includes(name)),
    unknown: applied.filter((name) => !(name in migrations)),
  };
}

/** Throws an Error that says what to do when the catalog lacks migrations of this version; one that has more will do. */
export async function requireMigrated(catalog: Catalog): Promise<void> {
  const { missing } = await migrationStatus(catalog);
  if (missing.length === 0) return;
  throw new Error(
    `the catalog is older than this version, it lacks ${missing.join(', ')}: run "steward setup" of this version, or start ` +
      'a coordinator of it, and try again',
  );
}

async function isNewer(catalog: Catalog): Promise<boolean> {
  const { missing, unknown } = await migrationStatus(catalog);
  return missing.length === 0 && unknown.length > 0;
}

async function appliedMigrations(catalog: Catalog): Promise<string[]> {
  const { rows: tables } = await sql<{ there: boolean }>`
    SELECT to_regclass('kysely_migration') IS NOT NULL AS there
  `.execute(catalog);
  if (!tables[0]!.there) return [];
  const { rows } = await sql<{ name: string }>`
    SELECT name FROM kysely_migration ORDER BY timestamp, name
  `.execute(catalog);
  return rows.map(({ name }) => name);
}

function migratorOf(catalog: Catalog): Migrator {
  return new Migrator({
    db: catalog,
    provider: { getMigrations: (): Promise<Record<string, Migration>> => Promise.resolve(migrations) },
  });
}

/** The catalog's own UUID, part of every operation id: a new catalog never meets the answers of an old one. */
export async function catalogId(catalog: Catalog): Promise<string> {
  const { id } = await catalog.selectFrom('catalog').select('id').executeTakeFirstOrThrow();
  return id;
}

/** Draws the next epoch. Call it with the rows to be claimed locked. */
export async function nextEpoch(transaction: CatalogTransaction): Promise<number> {
  const { rows } = await sql<{ epoch: number }>`SELECT nextval('claim_epoch') AS epoch`.execute(transaction);
  return rows[0]!.epoch;
}

/** `= ANY (ids)`: one parameter, however many ids there are. */
export function anyOf(ids: readonly number[]) {
  return sql<number>`ANY (${[...ids]}::bigint[])`;
}
