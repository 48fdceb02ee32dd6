import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import type { DataFile } from '../../src/optimizer/task.js';

/** Rows of a query over real Parquet files, as JSON values. */
export async function query(sql: string): Promise<Record<string, unknown>[]> {
  const database = await DuckDBInstance.create(':memory:');
  const connection = await database.connect();
  try {
    return (await connection.runAndReadAll(sql)).getRowObjectsJson();
  } finally {
    connection.closeSync();
    database.closeSync();
  }
}

/** Writes the rows of a SELECT into a file of the table. */
export async function writeParquet(location: string, path: string, select: string): Promise<DataFile> {
  const file = join(location, path);
  mkdirSync(dirname(file), { recursive: true });
  const [stats] = await query(`COPY (${select}) TO '${escaped(file)}' (FORMAT parquet, RETURN_STATS)`);
  return { path, rows: Number(stats!['count']), bytes: Number(stats!['file_size_bytes']) };
}

/** All rows of a file, as text, in an order of their own. */
export async function rowsOf(location: string, path: string): Promise<string[]> {
  const rows = await query(`SELECT * FROM read_parquet('${escaped(join(location, path))}')`);
  return rows.map((row) => JSON.stringify(Object.entries(row).sort(([a], [b]) => (a < b ? -1 : 1)))).sort();
}

/** `files` small files (id BIGINT, name VARCHAR) of `rows` rows each; ids are never repeated. */
export async function smallFiles(location: string, files: number, rows = 10): Promise<DataFile[]> {
  const made: DataFile[] = [];
  for (let index = 0; index < files; index++) {
    const select = `SELECT range + ${index * rows} AS id, 'row ' || range AS name FROM range(${rows})`;
    made.push(await writeParquet(location, `data/small-${index}.parquet`, select));
  }
  return made;
}

function escaped(file: string): string {
  return file.replaceAll("'", "''");
}
