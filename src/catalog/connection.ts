import { readFileSync } from 'node:fs';
import pg from 'pg';
import type { Settings } from '../model/settings.js';
import { mistrust } from '../rpc/trust.js';

export type DatabaseAddress = Pick<Settings, 'databaseUrl'> & Partial<Pick<Settings, 'databaseUrlFile'>>;

/**
 * Connections of the catalog's pool. Each new one reads `DATABASE_URL_FILE` again, and the files that the URL names
 * (`sslrootcert`, `sslcert`, `sslkey`), so that password and certificates are rotated while the process runs; connections that
 * are open stay.
 */
export function connectionsTo(address: DatabaseAddress): new () => pg.ClientBase {
  return class extends pg.Client {
    constructor(config?: pg.ClientConfig) {
      super({ ...config, connectionString: currentUrl(address) });
    }
  };
}

/** Of the file, if there is one and it can be read now. */
function currentUrl({ databaseUrl, databaseUrlFile }: DatabaseAddress): string {
  if (databaseUrlFile === undefined) return databaseUrl;
  try {
    const url = readFileSync(databaseUrlFile, 'utf8').trim();
    return URL.canParse(url) ? url : databaseUrl;
  } catch {
    return databaseUrl;
  }
}

/** Why PostgreSQL and this process do not trust each other, in words; any other error as it is. */
export function explainConnecting(error: unknown, address: DatabaseAddress): unknown {
  const reason = mistrust(error, 'sslrootcert in DATABASE_URL', 'say sslmode=disable in DATABASE_URL');
  if (reason === undefined) return error;
  return new Error(`PostgreSQL at ${new URL(currentUrl(address)).host} is not trusted: ${reason}`, {
    cause: error,
  });
}
