import { mkdirSync, rmSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import { flushPath } from '../durable-file.js';
import { messageOf } from '../message-of.js';
import { literal } from '../warehouse/duckdb.js';
import { type DataFile, type MergeTask, pathInTable } from './task.js';

export interface MergerOptions {
  /** Threads of all merges together. */
  readonly threads: number;
  /** Upper bound of the memory of all merges together. */
  readonly memoryMb: number;
  /** Directory for what does not fit; emptied. */
  readonly spill: string;
}

/** What merges may spill to disk, as a multiple of their memory: enough to sort nothing and buffer much, and no full disk. */
const SPILL_FACTOR = 8;

/** The task as it stands can never be done; the message says why. */
export class MergeError extends Error {
  override readonly name = 'MergeError';
}

/** Merges Parquet files, in one DuckDB whose threads and memory all merges of this process share. */
export class Merger {
  private constructor(private readonly database: DuckDBInstance) {}

  static async open({ threads, memoryMb, spill }: MergerOptions): Promise<Merger> {
    rmSync(spill, { recursive: true, force: true });
    mkdirSync(spill);
    const database = await DuckDBInstance.create(':memory:', {
      threads: String(threads),
      memory_limit: `${memoryMb}MiB`,
      temp_directory: spill,
      max_temp_directory_size: `${memoryMb * SPILL_FACTOR}MiB`,
      // A table is a set of rows; keeping their order would cost memory.
      preserve_insertion_order: 'false',
      // All that is needed is built in; an engine downloads nothing while it works.
      autoinstall_known_extensions: 'false',
      autoload_known_extensions: 'false',
    });
    return new Merger(database);
  }

  /**
   * Writes all rows of the inputs, each once, into `target`, which is flushed and was counted when this resolves. What
   * it promises of the output holds for the file at `target`; the caller gives it its name.
   *
   * @throws MergeError, or the reason of the signal; nothing is left at `target` then
   */
  async merge(task: MergeTask, target: string, signal: AbortSignal): Promise<DataFile> {
    signal.throwIfAborted();
    const inputs = task.inputs.map(({ path }) => pathInTable(task.location, path));
    pathInTable(task.location, task.output);
    if (inputs.length === 0) throw new MergeError('there is nothing to merge');
    if (new Set(inputs).size < inputs.length) throw new MergeError('an input is named twice');
    const connection = await this.database.connect();
    const interrupt = (): void => connection.interrupt();
    signal.addEventListener('abort', interrupt);
    try {
      const rows = await requireRows(connection, task, inputs);
      await requireOneSchema(connection, inputs);
      mkdirSync(dirname(target), { recursive: true });
      const written = await rowsOfQuery(
        connection,
        `COPY (SELECT * FROM ${parquet(inputs)}) TO ${literal(target)} (FORMAT parquet, RETURN_STATS)`,
      );
      const count = Number(written[0]?.['count']);
      if (count !== rows) throw new MergeError(`the output has ${count} rows, the inputs have ${rows}`);
      signal.throwIfAborted();
      flushPath(target);
      return { path: task.output, rows, bytes: statSync(target).size };
    } catch (error) {
      rmSync(target, { force: true });
      signal.throwIfAborted();
      throw error instanceof MergeError ? error : new MergeError(reasonOf(error), { cause: error });
    } finally {
      signal.removeEventListener('abort', interrupt);
      connection.closeSync();
    }
  }

  /** How many rows a Parquet file has, by its own footer; undefined when it is not there or no Parquet file. */
  async countRows(file: string): Promise<number | undefined> {
    const connection = await this.database.connect();
    try {
      const [footer] = await footers(connection, [file]);
      return footer?.rows;
    } catch {
      return undefined;
    } finally {
      connection.closeSync();
    }
  }

  close(): void {
    this.database.closeSync();
  }
}

/** The rows of the inputs, which must be those that the coordinator counts on. */
async function requireRows(connection: DuckDBConnection, task: MergeTask, files: string[]): Promise<number> {
  const found = new Map((await footers(connection, files)).map(({ file, rows }) => [file, rows]));
  let sum = 0;
  for (const [index, { path, rows }] of task.inputs.entries()) {
    const count = found.get(files[index]!);
    if (count !== rows) throw new MergeError(`${path} has ${count} rows, the table lists it with ${rows}`);
    sum += count;
  }
  return sum;
}

/** A column has one type in all inputs: a cast would change what rows say. Nobody minds the order of columns. */
async function requireOneSchema(connection: DuckDBConnection, files: string[]): Promise<void> {
  const shapes = await rowsOfQuery(
    connection,
    `SELECT min(file_name) AS file FROM (
       SELECT file_name, list_sort(list(concat_ws(' ', name, type, converted_type, logical_type, num_children))) AS shape
       FROM parquet_schema(${list(files)}) GROUP BY file_name
     ) GROUP BY shape ORDER BY file`,
  );
  if (shapes.length < 2) return;
  const types = new Map<string, { type: string; file: string }>();
  for (const { file } of shapes) {
    const columns = await rowsOfQuery(connection, `DESCRIBE SELECT * FROM ${parquet([String(file)])}`);
    for (const { column_name: column, column_type: type } of columns) {
      const name = String(column).toLowerCase();
      const before = types.get(name);
      if (before !== undefined && before.type !== String(type)) {
        throw new MergeError(
          `column ${String(column)} is ${before.type} in ${before.file} and ${String(type)} in ${String(file)}`,
        );
      }
      types.set(name, { type: String(type), file: String(file) });
    }
  }
}

async function footers(
  connection: DuckDBConnection,
  files: string[],
): Promise<{ file: string; rows: number }[]> {
  const found = await rowsOfQuery(
    connection,
    `SELECT file_name, num_rows FROM parquet_file_metadata(${list(files)})`,
  );
  return found.map((row) => ({ file: String(row['file_name']), rows: Number(row['num_rows']) }));
}

async function rowsOfQuery(connection: DuckDBConnection, sql: string): Promise<Record<string, unknown>[]> {
  return (await connection.runAndReadAll(sql)).getRowObjects();
}

/** Columns by name; directories named `a=b` add none. */
function parquet(files: readonly string[]): string {
  return `read_parquet(${list(files)}, union_by_name = true, hive_partitioning = false)`;
}

/** DuckDB takes a name with wildcards as it is when there is such a file; what is not there has no rows to count on. */
function list(files: readonly string[]): string {
  return `[${files.map((file) => literal(file)).join(', ')}]`;
}

/** DuckDB's advice on how to tune it helps nobody here. */
function reasonOf(error: unknown): string {
  return messageOf(error).split('\n\n')[0]!;
}
