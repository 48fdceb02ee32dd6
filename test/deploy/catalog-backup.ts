import { Client } from 'pg';
import type { Steward } from '../support/steward.js';

export interface CatalogBackup {
  /** Puts the copy in the place of the catalog's database; coordinators and workers are stopped. */
  restore(): Promise<void>;
  drop(): Promise<void>;
}

/** A copy of the catalog's database as it is at one moment. Everybody is disconnected meanwhile. */
export async function backUpCatalog({ databaseUrl }: Steward): Promise<CatalogBackup> {
  const url = new URL(databaseUrl);
  const name = url.pathname.slice(1);
  url.pathname = '/postgres';
  const server = url.href;
  const backup = `${name}_backup`;
  await run(server, [
    `ALTER DATABASE ${name} ALLOW_CONNECTIONS false`,
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${name}'`,
    `CREATE DATABASE ${backup} TEMPLATE ${name}`,
    `ALTER DATABASE ${name} ALLOW_CONNECTIONS true`,
  ]);
  return {
    restore: () =>
      run(server, [`DROP DATABASE ${name} WITH (FORCE)`, `CREATE DATABASE ${name} TEMPLATE ${backup}`]),
    drop: () => run(server, [`DROP DATABASE ${backup} WITH (FORCE)`]),
  };
}

async function run(server: string, statements: readonly string[]): Promise<void> {
  const client = new Client({ connectionString: server });
  await client.connect();
  try {
    for (const statement of statements) await client.query(statement);
  } finally {
    await client.end();
  }
}
