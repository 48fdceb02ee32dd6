import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import type { DuckDBConnection } from '@duckdb/node-api';
import { COLUMN_NAME, MAX_TABLE_COLUMNS } from '../rules/bounds.js';
import { identifier, literal, withDuckDb } from './duckdb.js';
import { makeWhole, PARTIAL, removeFile } from './whole-files.js';

export type FileFormat = 'CSV' | 'NDJSON' | 'PARQUET';

export interface Column {
  readonly name: string;
  /** As DuckDB names it. */
  readonly type: string;
}

/** The file cannot become one of the table; the message names line, row or column. Nothing was written. */
export class FileRejected extends Error {
  override readonly name = 'FileRejected';
}

export interface Converted {
  readonly columns: readonly Column[];
  readonly rows: number;
  readonly bytes: number;
}

/** Errors that are no fault of the file: they may be gone when it is tried again. */
const OWN_FAULT = /^(IO|Out of Memory|INTERNAL|FATAL|Interrupt|Permission)/;

const BOUNDS = { threads: 2, memoryMb: 512 };

/**
 * Makes one Parquet file of a CSV (with a header), NDJSON or Parquet file, whole or not at all. The columns are the ones
 * given, each there, none besides, and every value fits its type without loss; absent, they are those of the file.
 *
 * @throws FileRejected when the file is malformed or does not fit
 */
export async function convertToParquet(
  from: { readonly file: string; readonly format: FileFormat },
  to: string,
  columns?: readonly Column[],
): Promise<Converted> {
  const partial = to + PARTIAL;
  try {
    return await withDuckDb(BOUNDS, async (connection) => {
      const source = await openSource(connection, from);
      const target = columns ?? source.columns.map(storedColumn);
      requireSameColumns(source.columns, target);
      const relation = source.relation(target);
      await requireFits(connection, relation, target);
      const selected = target.map(
        ({ name, type }) => `CAST(${identifier(name)} AS ${type}) AS ${identifier(name)}`,
      );
      const [copied] = await query(
        connection,
        `COPY (SELECT ${selected.join(', ')} FROM ${relation.sql}) TO ${literal(partial)} (FORMAT parquet, COMPRESSION zstd)`,
      );
      return { columns: target, rows: Number(copied!['Count']), bytes: await makeWhole(partial, to) };
    });
  } catch (error) {
    await removeFile(partial);
    throw error;
  }
}

/** A file as DuckDB reads it: `columns` are the file's own, `relation` reads it for a table of these columns. */
interface Source {
  readonly columns: readonly Column[];
  relation(target: readonly Column[]): Relation;
}

interface Relation {
  readonly sql: string;
  /** Type in which each column is read, by name. */
  readonly types: ReadonlyMap<string, string>;
}

async function openSource(
  connection: DuckDBConnection,
  { file, format }: { readonly file: string; readonly format: FileFormat },
): Promise<Source> {
  switch (format) {
    case 'CSV':
      return openCsv(connection, file);
    case 'NDJSON':
      return openNdjson(connection, file);
    case 'PARQUET': {
      const sql = `read_parquet(${literal(file)})`;
      const columns = await describe(connection, sql);
      return { columns, relation: () => ({ sql, types: typesOf(columns) }) };
    }
  }
}

/** Read as text, by the header's names: the reader then names the line that is malformed. */
async function openCsv(connection: DuckDBConnection, file: string): Promise<Source> {
  const names = csvNames((await firstLine(file)) ?? '');
  if (names === undefined || names.some((name) => name === '')) {
    throw new FileRejected('line 1 is no header: it does not name each column');
  }
  requireDistinct(names);
  const texts = names.map((name) => ({ name, type: 'VARCHAR' }));
  const dialect = `delim=',', quote='"', escape='"', header=true, strict_mode=true, null_padding=false`;
  const sql = `read_csv(${literal(file)}, ${dialect}, auto_detect=false, columns=${struct(texts)})`;
  await query(connection, `SELECT count(*) AS rows FROM ${sql}`);
  const guessed = await describe(connection, `read_csv(${literal(file)}, ${dialect}, sample_size=-1)`);
  return {
    columns: names.map((name, index) => ({ name, type: guessed[index]?.type ?? 'VARCHAR' })),
    relation: () => ({ sql, types: typesOf(texts) }),
  };
}

async function openNdjson(connection: DuckDBConnection, file: string): Promise<Source> {
  const options = `format='newline_delimited', records=true`;
  // Every line is read, so that the columns are those of all lines.
  const columns = await describe(connection, `read_json(${literal(file)}, ${options}, sample_size=-1)`);
  return {
    columns,
    relation(target) {
      const types = typesOf(target);
      const read = columns.map(({ name, type }) => ({
        name,
        type: types.get(name) === 'VARCHAR' ? 'VARCHAR' : type,
      }));
      return {
        sql: `read_json(${literal(file)}, ${options}, columns=${struct(read)})`,
        types: typesOf(read),
      };
    },
  };
}

function requireSameColumns(found: readonly Column[], wanted: readonly Column[]): void {
  const [there, known] = [typesOf(found), typesOf(wanted)];
  const missing = wanted.filter(({ name }) => !there.has(name)).map(({ name }) => name);
  const unknown = found.filter(({ name }) => !known.has(name)).map(({ name }) => name);
  const problems = [
    ...(missing.length > 0 ? [`the file lacks column ${missing.join(', ')}`] : []),
    ...(unknown.length > 0 ? [`the table has no column ${unknown.join(', ')}`] : []),
  ];
  if (problems.length > 0) throw new FileRejected(problems.join('; '));
}

/** Every value becomes one of the column's type without loss, or the first row and value that does not are named. */
async function requireFits(
  connection: DuckDBConnection,
  { sql, types }: Relation,
  columns: readonly Column[],
): Promise<void> {
  const cast = columns.filter(({ name, type }) => types.get(name) !== type);
  if (cast.length === 0) return;
  const firsts = cast.map(({ name, type }, index) => {
    const unfit = unfitting(identifier(name), types.get(name)!, type);
    return `min(position) FILTER (${unfit}) AS row_${index}, arg_min(${identifier(name)}::VARCHAR, position) FILTER (${unfit}) AS value_${index}`;
  });
  const [found] = await query(
    connection,
    `SELECT ${firsts.join(', ')} FROM (SELECT *, row_number() OVER () AS position FROM ${sql})`,
  );
  for (const [index, { name, type }] of cast.entries()) {
    const row = found![`row_${index}`];
    if (row !== null) {
      throw new FileRejected(
        `column ${name}: row ${Number(row)} has ${shown(found![`value_${index}`])}, which is no ${type}`,
      );
    }
  }
}

function unfitting(value: string, from: string, to: string): string {
  const cast = `TRY_CAST(${value} AS ${to})`;
  // DuckDB rounds when a text becomes a whole number or a decimal.
  const changed =
    from !== 'VARCHAR'
      ? `TRY_CAST(${cast} AS ${from}) IS DISTINCT FROM ${value}`
      : /INT|DECIMAL/.test(to)
        ? `TRY_CAST(${value} AS DOUBLE) IS DISTINCT FROM CAST(${cast} AS DOUBLE)`
        : 'false';
  return `${value} IS NOT NULL AND (${cast} IS NULL OR ${changed})`;
}

/** The type in which a column is kept whose values are of mixed or of no type, or that Parquet has no type for. */
function storedColumn({ name, type }: Column): Column {
  if (type === 'JSON' || type === '"NULL"') return { name, type: 'VARCHAR' };
  return { name, type: type === 'HUGEINT' || type === 'UHUGEINT' ? 'DECIMAL(38,0)' : type };
}

async function describe(connection: DuckDBConnection, relation: string): Promise<Column[]> {
  const rows = await query(connection, `DESCRIBE SELECT * FROM ${relation}`);
  const columns = rows.map((row) => ({
    name: String(row['column_name']),
    type: String(row['column_type']),
  }));
  requireDistinct(columns.map(({ name }) => name));
  return columns;
}

async function query(connection: DuckDBConnection, sql: string): Promise<Record<string, unknown>[]> {
  try {
    return (await connection.runAndReadAll(sql)).getRowObjectsJson();
  } catch (error) {
    const { message } = error as Error;
    if (OWN_FAULT.test(message)) throw error;
    throw new FileRejected(told(message), { cause: error });
  }
}

/** The part of DuckDB's message that is about the file: without advice for who writes SQL, and without paths. */
function told(message: string): string {
  const [first = '', ...more] = message
    .replace(/\b(file) (["'])\/.*?\2/gi, '$1')
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
  const advice = more.findIndex((line) => /^(Possible|LINE 1|Try|file =|Column .* is being)/.test(line));
  return [first.replace(/^[A-Z][A-Za-z ]*Error: /, ''), ...(advice < 0 ? more : more.slice(0, advice))].join(
    '; ',
  );
}

function requireDistinct(names: readonly string[]): void {
  const seen = new Set<string>();
  for (const name of names) {
    if (!COLUMN_NAME.test(name)) throw new FileRejected(`${shown(name)} is no name of a column`);
    // As DuckDB compares them.
    const key = name.toLowerCase();
    if (seen.has(key)) throw new FileRejected(`column ${name} is there twice`);
    seen.add(key);
  }
  if (names.length > MAX_TABLE_COLUMNS) {
    throw new FileRejected(`${names.length} columns are more than ${MAX_TABLE_COLUMNS}`);
  }
}

/** The names in a header; undefined when a quote is open at its end. */
function csvNames(line: string): string[] | undefined {
  const names: string[] = [];
  const field = /(?:"((?:[^"]|"")*)"|([^",]*))(,|$)/y;
  for (;;) {
    const match = field.exec(line);
    if (match === null) return undefined;
    names.push((match[1]?.replaceAll('""', '"') ?? match[2] ?? '').trim());
    if (match[3] === '') return names;
  }
}

async function firstLine(file: string): Promise<string | undefined> {
  const stream = createReadStream(file, { encoding: 'utf8' });
  try {
    for await (const line of createInterface({ input: stream })) return line.replace(/^\uFEFF/, '');
    return undefined;
  } finally {
    stream.destroy();
  }
}

function struct(columns: readonly Column[]): string {
  return `{${columns.map(({ name, type }) => `${literal(name)}: ${literal(type)}`).join(', ')}}`;
}

function typesOf(columns: readonly Column[]): Map<string, string> {
  return new Map(columns.map(({ name, type }) => [name, type]));
}

function shown(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
