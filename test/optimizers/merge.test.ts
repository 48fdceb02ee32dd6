import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Merger } from '../../src/optimizer/merge.js';
import type { DataFile, MergeTask } from '../../src/optimizer/task.js';
import { temporaryDirectory } from '../support/guard.js';
import { query, rowsOf, smallFiles, writeParquet } from './parquet.js';

let home: ReturnType<typeof temporaryDirectory>;
let location: string;
let merger: Merger;
const never = new AbortController().signal;

beforeEach(async () => {
  home = temporaryDirectory('merge');
  location = join(home.path, 'table');
  mkdirSync(location);
  merger = await Merger.open({ threads: 2, memoryMb: 64, spill: join(home.path, 'tmp') });
});
afterEach(async () => {
  merger.close();
  await home.remove();
});

function taskOf(inputs: readonly DataFile[], at = location): MergeTask {
  return { taskId: 'p/1', attempt: 1, location: at, inputs: [...inputs], output: 'data/out.parquet' };
}

/** Merges into the output's own name, and gives back the whole of it. */
async function merge(task: MergeTask, signal = never): Promise<DataFile> {
  return merger.merge(task, join(task.location, task.output), signal);
}

/** One value of each type that a column of a table may have, and NULL. */
const TYPES: Readonly<Record<string, readonly string[]>> = {
  BIGINT: ['-9223372036854775808', '0', '9223372036854775807'],
  INTEGER: ['-1', '2147483647'],
  UTINYINT: ['0', '255'],
  DOUBLE: ["'nan'", "'inf'", '0.1', '-0.0'],
  FLOAT: ['1.5'],
  BOOLEAN: ['true', 'false'],
  VARCHAR: ["''", "'a'", "'it''s'", "'Ünïcode 🎉'", "repeat('long ', 500)"],
  BLOB: ["'\\x00\\xFF'"],
  DATE: ["'0001-01-01'", "'2024-02-29'"],
  TIMESTAMP: ["'2024-02-29 12:34:56.789012'"],
  TIMESTAMPTZ: ["'2024-02-29 12:34:56.789012+02'"],
  TIMESTAMP_NS: ["'2024-02-29 12:34:56.789012345'"],
  TIME: ["'23:59:59.999999'"],
  UUID: ["'00000000-0000-0000-0000-000000000001'"],
  'DECIMAL(38,10)': ["'1234567890123456789012345678.0123456789'"],
  'INTEGER[]': ['[]', '[1, NULL, 3]'],
  'STRUCT(a INTEGER, b VARCHAR)': ["{'a': 1, 'b': NULL}"],
  'MAP(VARCHAR, INTEGER)': ["MAP {'k': 1}"],
  JSON: ['\'{"a": [1]}\''],
};

test('of any files, rows, types and NULLs has every row once, and says how many', async () => {
  const column = fc.constantFrom(...Object.keys(TYPES));
  const shape = fc.record({
    columns: fc.uniqueArray(column, { minLength: 1, maxLength: 5 }),
    files: fc.array(fc.array(fc.nat(), { maxLength: 30 }), { minLength: 1, maxLength: 8 }),
  });
  await fc.assert(
    fc.asyncProperty(shape, fc.integer({ min: 0 }), async ({ columns, files }, run) => {
      const inputs: DataFile[] = [];
      for (const [index, picks] of files.entries()) {
        const rows = picks.map((pick, row) => {
          const values = columns.map((type, at) => {
            const values = [...TYPES[type]!, 'NULL'];
            return `CAST(${values[(pick + at) % values.length]} AS ${type}) AS c${at}`;
          });
          // Equal rows are many rows.
          return `SELECT ${row % 3} AS n, ${values.join(', ')}`;
        });
        const none = columns.map((type, at) => `CAST(NULL AS ${type}) AS c${at}`).join(', ');
        const all = [...rows, `SELECT 0 AS n, ${none} WHERE false`].join(' UNION ALL ');
        inputs.push(await writeParquet(location, `${run}/in-${index}.parquet`, all));
      }
      const task = { ...taskOf(inputs), output: `${run}/out.parquet` };
      const output = await merge(task);
      const before = (await Promise.all(inputs.map(({ path }) => rowsOf(location, path)))).flat().sort();
      expect(await rowsOf(location, output.path)).toEqual(before);
      expect(output.rows).toBe(before.length);
      const types = async (path: string) => query(`DESCRIBE SELECT * FROM '${join(location, path)}'`);
      expect(await types(output.path)).toEqual(await types(inputs[0]!.path));
    }),
    { numRuns: 25 },
  );
}, 120_000);

test('takes paths as they are, whatever their characters mean to others', async () => {
  const odd = join(location, "it's [a]*?", 'day=1');
  const inputs = await smallFiles(odd, 3);
  await smallFiles(join(location, "it's a", 'day=1'), 3);
  const output = await merge(taskOf(inputs, odd));
  expect(output.rows).toBe(30);
  const file = join(odd, output.path).replaceAll("'", "''").replace(/[[*?]/g, '[$&]');
  const columns = await query(`SELECT name FROM parquet_schema('${file}') WHERE type IS NOT NULL`);
  expect(columns.map(({ name }) => name)).toEqual(['id', 'name']);
});

test('takes columns by their names, in whatever order a file has them', async () => {
  const inputs = [
    await writeParquet(location, 'a.parquet', "SELECT 1 AS id, 'one' AS name"),
    await writeParquet(location, 'b.parquet', "SELECT 'two' AS name, 2 AS id"),
  ];
  await merge(taskOf(inputs));
  expect(await rowsOf(location, 'data/out.parquet')).toEqual([
    '[["id",1],["name","one"]]',
    '[["id",2],["name","two"]]',
  ]);
});

describe('fails, and leaves nothing, when', () => {
  const file = (path: string, rows = 1): DataFile => ({ path, rows, bytes: 1 });

  test.each([
    ['an input is not there', 'gone.parquet', [file('gone.parquet')]],
    ['an input is no Parquet file', 'junk.parquet', [file('junk.parquet')]],
    [
      'an input has other rows than the table lists',
      'one.parquet has 1 rows, the table lists it with 2',
      [file('one.parquet', 2)],
    ],
    ['an input is named twice', 'named twice', [file('one.parquet'), file('one.parquet')]],
    ['there is no input', 'nothing to merge', []],
    [
      'a column has another type in another file',
      'column v is',
      [file('one.parquet'), file('other.parquet')],
    ],
    ['an input is not there, and its name matches another', 'table lists it with 1', [file('on?.parquet')]],
    ['an input is outside of the table', 'not a path within the table', [file('../one.parquet')]],
    ['an input is an absolute path', 'not a path within the table', [file('/one.parquet')]],
  ])('%s', async (_what, message, inputs) => {
    writeFileSync(join(location, 'junk.parquet'), 'junk');
    await writeParquet(location, 'one.parquet', 'SELECT 1 AS v');
    await writeParquet(location, 'other.parquet', "SELECT '1' AS v");
    await expect(merge(taskOf(inputs))).rejects.toThrow(message);
    expect(existsSync(join(location, 'data/out.parquet'))).toBe(false);
  });

  test('the output is outside of the table', async () => {
    const inputs = await smallFiles(location, 1);
    await expect(merge({ ...taskOf(inputs), output: '../out.parquet' })).rejects.toThrow('within the table');
  });

  test('it is interrupted', async () => {
    const inputs = [await writeParquet(location, 'many.parquet', 'SELECT range AS id FROM range(3000000)')];
    const stop = new AbortController();
    const merging = merge(taskOf(inputs), stop.signal);
    stop.abort(new Error('enough'));
    await expect(merging).rejects.toThrow('enough');
    expect(existsSync(join(location, 'data/out.parquet'))).toBe(false);
  });

  test('it needs more memory than it may take; the next merge works', async () => {
    const large = [0, 1].map((index) =>
      writeParquet(
        location,
        `large-${index}.parquet`,
        "SELECT repeat('x', 40000000) || range AS v FROM range(2)",
      ),
    );
    await expect(merge(taskOf(await Promise.all(large)))).rejects.toThrow('Out of Memory');
    expect((await merge(taskOf(await smallFiles(location, 2)))).rows).toBe(20);
  });
});

test('empties what an earlier process had spilled', async () => {
  merger.close();
  const spill = join(home.path, 'tmp');
  mkdirSync(spill, { recursive: true });
  writeFileSync(join(spill, 'left'), 'over');
  merger = await Merger.open({ threads: 1, memoryMb: 64, spill });
  expect(readdirSync(spill)).toEqual([]);
});
