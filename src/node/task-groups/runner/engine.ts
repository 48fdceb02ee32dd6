import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';

/** What DuckDB may take for its buffers; what is beyond is spilled to the scratch directory. */
const MEMORY_LIMIT = '256MB';

/** The DuckDB of one pipeline: in memory, one thread for each query, and no way to any file but its own. */
export class Engine {
  private constructor(private readonly instance: DuckDBInstance) {}

  /**
   * @param files that may be read
   * @param directories in which files may be read and written; the first one takes what is spilled
   */
  static async open(files: readonly string[], directories: readonly string[]): Promise<Engine> {
    const engine = new Engine(
      await DuckDBInstance.create(':memory:', {
        threads: '1',
        memory_limit: MEMORY_LIMIT,
        autoinstall_known_extensions: 'false',
        autoload_known_extensions: 'false',
      }),
    );
    const connection = await engine.connect();
    for (const setting of [
      `temp_directory = ${text(directories[0]!)}`,
      `allowed_paths = ${list(files)}`,
      `allowed_directories = ${list(directories.map((directory) => `${directory}/`))}`,
      'enable_external_access = false',
      'preserve_insertion_order = true',
      'lock_configuration = true',
    ]) {
      await connection.run(`SET ${setting}`);
    }
    connection.closeSync();
    return engine;
  }

  connect(): Promise<DuckDBConnection> {
    return this.instance.connect();
  }

  close(): void {
    this.instance.closeSync();
  }
}

/** A string of SQL. */
export function text(value: string): string {
  return `'${value.replaceAll("'", "''")}'`;
}

/** A list of strings. */
export function list(values: readonly string[]): string {
  return `[${values.map(text).join(', ')}]`;
}

/** The rows of a query, as JSON values. */
export async function rowsOf(
  connection: DuckDBConnection,
  sql: string,
): Promise<Readonly<Record<string, unknown>>[]> {
  return (await connection.runAndReadAll(sql)).getRowObjectsJson();
}
