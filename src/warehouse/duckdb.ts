import type { DuckDBConnection } from '@duckdb/node-api';

/** What one session of DuckDB may use. */
export interface DuckDbBounds {
  readonly threads: number;
  readonly memoryMb: number;
}

/** Runs `use` on a session of its own, in memory, which ends with it. */
export async function withDuckDb<T>(
  bounds: DuckDbBounds,
  use: (connection: DuckDBConnection) => Promise<T>,
): Promise<T> {
  // A coordinator that ingests nothing, as most do for most of the time, needs no native library of 70 MB.
  const { DuckDBInstance } = await import('@duckdb/node-api');
  const instance = await DuckDBInstance.create(':memory:', {
    threads: String(bounds.threads),
    memory_limit: `${bounds.memoryMb}MB`,
    temp_directory: '',
    autoinstall_known_extensions: 'false',
    autoload_known_extensions: 'false',
  });
  try {
    const connection = await instance.connect();
    try {
      return await use(connection);
    } finally {
      connection.closeSync();
    }
  } finally {
    instance.closeSync();
  }
}

/** A text as an SQL literal. */
export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/** A name as an SQL identifier. */
export function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
