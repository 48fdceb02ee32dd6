import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ingestFile } from '../../src/catalog/optimizing/ingestion.js';
import { createTable, findTable } from '../../src/catalog/optimizing/tables.js';
import type { FileFormat } from '../../src/warehouse/conversion.js';
import { GROUP, type OptimizingRoom, optimizingRoom, rowsFrom, TARGET, upTo } from './optimizing-room.js';

let room: OptimizingRoom;
beforeAll(async () => {
  room = await optimizingRoom();
});
afterAll(() => room.stop());

const COLUMNS = [
  { name: 'id', type: 'BIGINT' },
  { name: 'name', type: 'VARCHAR' },
];
let counter = 0;

async function ingest(table: string, format: FileFormat, content: string | Buffer, request?: string) {
  counter += 1;
  const file = join(room.directory, `file-${counter}`);
  writeFileSync(file, content);
  const digest = content.toString();
  return ingestFile(
    room.catalog,
    { table, file, format, request: request ?? `request-${counter}`, digest },
    { targetFileBytes: TARGET },
  );
}

async function tableWith(columns = COLUMNS): Promise<string> {
  counter += 1;
  const name = `table-${counter}`;
  await createTable(room.catalog, room.warehouse, { name, group: GROUP, columns, actor: 'tester' });
  return name;
}

async function parquet(select: string): Promise<string> {
  counter += 1;
  const path = join(room.directory, `given-${counter}.parquet`);
  const duck = await DuckDBInstance.create(':memory:');
  const connection = await duck.connect();
  await connection.run(`COPY (${select}) TO '${path}' (FORMAT parquet)`);
  connection.closeSync();
  duck.closeSync();
  return path;
}

describe('a file that is malformed, or does not fit the table, is named and nothing is ingested:', () => {
  const cases: [string, FileFormat, string, RegExp][] = [
    ['a CSV line with too few values', 'CSV', 'id,name\n1,a\n2\n', /Line: 3.*Expected Number of Columns: 2/],
    ['a CSV line with too many values', 'CSV', 'id,name\n1,a\n2,b,c\n', /Line: 3/],
    ['a quote that is never closed', 'CSV', 'id,name\n1,"a\n2,b\n', /Line: 2/],
    [
      'a value of another type',
      'CSV',
      'id,name\n1,a\nx,b\n',
      /^column id: row 2 has "x", which is no BIGINT/,
    ],
    ['a value that would be rounded', 'CSV', 'id,name\n1.7,a\n', /^column id: row 1 has "1.7"/],
    ['a column that is missing', 'CSV', 'id\n1\n', /^the file lacks column name$/],
    ['a column that is unknown', 'CSV', 'id,name,age\n1,a,2\n', /^the table has no column age$/],
    ['a column that is there twice', 'CSV', 'id,name,ID\n1,a,2\n', /column ID is there twice/],
    ['a header that names nothing', 'CSV', '', /line 1 is no header/],
    ['broken JSON', 'NDJSON', '{"id":1,"name":"a"}\n{"id":2,"name":\n', /line 2|line 3/],
    ['a line that is no object', 'NDJSON', '[1,2]\n', /non-record/],
    [
      'a JSON value of another type',
      'NDJSON',
      '{"id":1,"name":"a"}\n{"id":"x","name":"b"}\n',
      /column id: row 2/,
    ],
    ['a JSON value that would be rounded', 'NDJSON', '{"id":1.5,"name":"a"}\n', /column id: row 1 has "1.5"/],
    [
      'a JSON field that is unknown',
      'NDJSON',
      '{"id":1,"name":"a"}\n{"id":2,"name":"b","c":1}\n',
      /no column c/,
    ],
    ['a JSON field that is missing', 'NDJSON', '{"id":1}\n', /lacks column name/],
    ['what is no Parquet', 'PARQUET', 'not parquet at all, that is for sure', /Parquet|magic bytes/i],
  ];
  it.each(cases)('%s', async (_, format, content, message) => {
    const table = await tableWith();
    const failure = await ingest(table, format, content).then(
      (verdict) => JSON.stringify(verdict),
      (error: Error) => `${error.name}: ${error.message}`,
    );
    expect(failure).toMatch(/^FileRejected: /);
    expect(failure.replace('FileRejected: ', '')).toMatch(message);
    expect(failure).not.toContain(room.directory);
    expect(await room.status(table)).toMatchObject({ snapshotId: 0, files: 0 });
    const location = await room.location(table);
    expect([...readdirSync(join(location, 'data')), ...readdirSync(join(location, 'metadata'))]).toEqual([]);
  });

  it('a Parquet column that does not fit', async () => {
    const table = await tableWith();
    const path = await parquet(`SELECT 1.5::DOUBLE AS id, 'a' AS name`);
    const ingestion = { table, file: path, format: 'PARQUET', request: 'r', digest: 'd' } as const;
    await expect(ingestFile(room.catalog, ingestion, { targetFileBytes: TARGET })).rejects.toThrow(
      'column id: row 1 has "1.5", which is no BIGINT',
    );
  });
});

describe('a file', () => {
  it.each<[FileFormat, string]>([
    ['CSV', 'id,name\n9007199254740993,"a, ""b"""\n2,\n'],
    ['NDJSON', '{"id":9007199254740993,"name":"a, \\"b\\""}\n{"id":2}\n'],
  ])('of %s becomes Parquet with the columns of the table, value for value', async (format, content) => {
    const table = await tableWith();
    expect(await ingest(table, format, content)).toMatchObject({ kind: 'INGESTED', rows: 2, snapshotId: 1 });
    const [file] = await room.files(table);
    const duck = await DuckDBInstance.create(':memory:');
    const connection = await duck.connect();
    const read = await connection.runAndReadAll(
      `SELECT * FROM '${join(await room.location(table), file!.path)}' ORDER BY id`,
    );
    expect(read.getRowObjectsJson()).toEqual([
      { id: '2', name: null },
      { id: '9007199254740993', name: 'a, "b"' },
    ]);
    connection.closeSync();
    duck.closeSync();
  });

  it('of Parquet whose columns are narrower and in another order fits without loss', async () => {
    const table = await tableWith();
    const path = await parquet(`SELECT 'a' AS name, 7::INTEGER AS id`);
    const ingestion = { table, file: path, format: 'PARQUET', request: 'r', digest: 'd' } as const;
    await ingestFile(room.catalog, ingestion, { targetFileBytes: TARGET });
    expect(await room.ids(table)).toEqual([7]);
  });

  it('that is the first fixes the columns of a table that has none', async () => {
    const table = await tableWith([]);
    await ingest(table, 'CSV', 'id,name,at\n1,a,2024-01-02\n');
    expect((await findTable(room.catalog, table))!.columns).toEqual([
      { name: 'id', type: 'BIGINT' },
      { name: 'name', type: 'VARCHAR' },
      { name: 'at', type: 'DATE' },
    ]);
    await expect(ingest(table, 'CSV', 'id,name,at\nx,a,2024-01-02\n')).rejects.toThrow('column id');
  });

  it('is ingested once under one request id, asked again or twelve times at once; another file is refused', async () => {
    const table = await tableWith();
    const content = rowsFrom(0);
    const verdicts = await Promise.all(upTo(12).map(() => ingest(table, 'CSV', content, 'one')));
    expect(verdicts.map(({ kind }) => kind).sort()).toEqual(['INGESTED', ...upTo(11).map(() => 'KNOWN')]);
    expect(await ingest(table, 'CSV', content, 'one')).toEqual({ kind: 'KNOWN', snapshotId: 1 });
    expect(await ingest(table, 'CSV', rowsFrom(3), 'one')).toEqual({ kind: 'OTHER_FILE' });
    expect(await room.ids(table)).toEqual(upTo(3));
    expect(readdirSync(join(await room.location(table), 'data'))).toHaveLength(1);
  });

  it('is there, whichever of eight first files of a table without columns came first', async () => {
    const table = await tableWith([]);
    await Promise.all(upTo(8).map((n) => ingest(table, 'CSV', rowsFrom(n * 3))));
    expect(await room.ids(table)).toEqual(upTo(24));
    expect(await room.status(table)).toMatchObject({ snapshotId: 8, files: 8, rows: 24 });
  });

  it('of a table that does not exist is refused', async () => {
    expect(await ingest('nothing', 'CSV', rowsFrom(0))).toEqual({ kind: 'UNKNOWN_TABLE' });
  });
});
