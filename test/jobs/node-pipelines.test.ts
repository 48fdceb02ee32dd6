import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { finish, submit } from '../node/region-operations.js';
import {
  deployment,
  endOf,
  files,
  idsIn,
  locationOf,
  numbers,
  partsOf,
  rate,
  type Site,
  stagedIn,
  startSite,
  stateOf,
  writeCsv,
} from './task-groups.js';

let site: Site;
beforeEach(async () => {
  site = await startSite();
  site.coordinator.claim(locationOf(), 1);
});
afterEach(() => site.end());

async function query(sql: string): Promise<Record<string, unknown>[]> {
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  const rows = (await connection.runAndReadAll(sql)).getRowObjectsJson();
  connection.closeSync();
  instance.closeSync();
  return rows;
}

test('CSV files pass through SQL into CSV parts, every row once, with counters that say so', async () => {
  const sink = site.sink();
  const source = files(
    'csv',
    writeCsv(join(site.directory, 'a.csv'), 1, 40_000),
    writeCsv(join(site.directory, 'b.csv'), 40_001, 5),
  );
  const transform = 'SELECT id, upper(name) AS loud FROM source WHERE id % 2 = 0 -- even ones\n;';
  expect(await finish(site.node, deployment({ directory: sink, source, transform, parallelism: 3 }))).toEqual(
    ['SUCCESS'],
  );
  const end = await endOf(site.node);
  expect(end).toMatchObject({ error: '', rowsIn: 40_005n, rowsOut: 20_002n, checkpointId: 1n });
  expect(stateOf(end)).toBe('FINISHED');
  expect(idsIn(sink)).toEqual(numbers(1, 20_002).map((i) => i * 2));
  expect(
    readFileSync(join(sink, partsOf(sink)[0]!), 'utf8')
      .split('\n')
      .slice(0, 2),
  ).toEqual(['id,loud', '2,"NAME, 2"']);
  expect(stagedIn(sink)).toEqual([]);
  expect(site.coordinator.commits).toHaveLength(1);
  expect(site.coordinator.commits[0]).toMatchObject({ last: true, execution: 1n });
  expect(
    new Set(site.coordinator.commits[0]!.checkpoint!.parts.map(({ staged }) => staged.match(/s\d/)![0])),
  ).toEqual(new Set(['s1', 's2', 's3']));
});

test('quoted line ends, blank lines, Windows line ends and a missing last line end are read as they are meant', async () => {
  const path = join(site.directory, 'odd.csv');
  writeFileSync(path, 'id,name\r\n1,"two\r\nlines"\r\n\r\n2,"a ""quote"""\r\n3,x');
  const sink = site.sink();
  await submit(site.node, deployment({ directory: sink, source: files('csv', path), format: 'ndjson' }));
  expect(await endOf(site.node)).toMatchObject({ error: '', rowsIn: 3n, rowsOut: 3n });
  const rows = readFileSync(join(sink, partsOf(sink)[0]!), 'utf8')
    .trim()
    .split('\n');
  expect(rows.map((row) => JSON.parse(row) as unknown)).toEqual([
    { id: 1, name: 'two\r\nlines' },
    { id: 2, name: 'a "quote"' },
    { id: 3, name: 'x' },
  ]);
});

test('NDJSON becomes Parquet, and Parquet becomes NDJSON, in parallel', async () => {
  const lines = numbers(1, 60_000).map((i) => JSON.stringify({ id: i, tags: [`t${i}`], deep: { i } }));
  const path = join(site.directory, 'in.ndjson');
  writeFileSync(path, `${lines.join('\n')}\n`);
  const middle = site.sink('middle');
  await submit(
    site.node,
    deployment({ directory: middle, source: files('ndjson', path), format: 'parquet', parallelism: 4 }),
  );
  expect(await endOf(site.node)).toMatchObject({ error: '', rowsIn: 60_000n, rowsOut: 60_000n });
  expect(
    await query(
      `SELECT count(*)::INT AS n, count(DISTINCT id)::INT AS d, sum(deep.i)::INT AS s FROM '${middle}/*.parquet'`,
    ),
  ).toEqual([{ n: 60_000, d: 60_000, s: 1_800_030_000 }]);

  site.coordinator.claim(locationOf('back'), 1);
  const sink = site.sink();
  const source = files('parquet', ...partsOf(middle).map((name) => join(middle, name)));
  await submit(
    site.node,
    deployment({ job: 'back', directory: sink, source, format: 'ndjson', parallelism: 3 }),
  );
  expect(await endOf(site.node, 1, 'back')).toMatchObject({ error: '', rowsIn: 60_000n });
  const back = partsOf(sink).flatMap((name) => readFileSync(join(sink, name), 'utf8').trim().split('\n'));
  expect(back.sort()).toEqual(lines.sort());
});

test('a rate of rows comes in checkpoints, each published when it is committed', async () => {
  const sink = site.sink();
  const source = rate(101, 3000, 3000);
  await submit(
    site.node,
    deployment({
      directory: sink,
      source,
      parallelism: 2,
      intervalMs: 100,
      transform: 'SELECT seq FROM source',
    }),
  );
  expect(await endOf(site.node)).toMatchObject({ error: '', rowsIn: 3000n, rowsOut: 3000n });
  expect(idsIn(sink)).toEqual(numbers(101, 3000));
  const { commits } = site.coordinator;
  expect(commits.length).toBeGreaterThan(3);
  expect(commits.map(({ checkpoint }) => checkpoint!.checkpointId)).toEqual(
    commits.map((_, i) => BigInt(i + 1)),
  );
  expect(commits.map(({ last }) => last)).toEqual(commits.map((_, i) => i === commits.length - 1));
  const published = commits.flatMap(({ checkpoint }) => checkpoint!.parts.map((part) => part.published));
  expect(published.sort()).toEqual(partsOf(sink));
});

test('an empty source finishes with a checkpoint and no parts', async () => {
  const path = writeCsv(join(site.directory, 'none.csv'), 1, 0);
  await submit(site.node, deployment({ directory: site.sink(), source: files('csv', path), parallelism: 2 }));
  const end = await endOf(site.node);
  expect(stateOf(end)).toBe('FINISHED');
  expect(end).toMatchObject({ error: '', rowsIn: 0n, checkpointId: 1n });
  expect(partsOf(site.sink())).toEqual([]);
});

const GOOD = 'id,name\n1,a\n';
test.each<{
  what: string;
  source: { format: string; text?: string; other?: string };
  transform?: string;
  error: RegExp;
}>([
  {
    what: 'a file that is not there',
    source: { format: 'csv' },
    error: /cannot read .*in\.csv: ENOENT/,
  },
  {
    what: 'a CSV row with too many columns',
    source: { format: 'csv', text: 'id,name\n1,a\n2,"b\nb"\n3,c,d\n4,e\n' },
    error: /in\.csv, line 5: .*Expected Number of Columns: 2 Found: 3/,
  },
  {
    what: 'a CSV value that is none of its column',
    source: { format: 'csv', text: `id,name\n${'1,a\n'.repeat(30_000)}x,b\n` },
    error: /in\.csv, line 30002: .*"x" to 'BIGINT'/,
  },
  {
    what: 'a CSV file with other columns',
    source: { format: 'csv', text: GOOD, other: 'id,title\n1,a\n' },
    error: /other\.csv, line 1: its columns are not those of .*in\.csv \(id,name\)/,
  },
  {
    what: 'a line that is no JSON',
    source: { format: 'ndjson', text: '{"id":1}\n\n{"id":2\n{"id":3}\n' },
    error: /in\.ndjson, line 3: Malformed JSON/,
  },
  {
    what: 'a file that is no Parquet',
    source: { format: 'parquet', text: GOOD },
    error: /in\.parquet/,
  },
  {
    what: 'a transform that does not parse',
    source: { format: 'csv', text: GOOD },
    transform: 'SELEC id FROM source',
    error: /the transform does not parse: syntax error at or near "SELEC", at character 1/,
  },
  {
    what: 'a transform of a column that is not there',
    source: { format: 'csv', text: GOOD },
    transform: 'SELECT price FROM source',
    error: /the transform cannot be done: .*price/,
  },
  {
    what: 'a transform that is no SELECT',
    source: { format: 'csv', text: GOOD },
    transform: "COPY source TO '/tmp/elsewhere.csv'",
    error: /the transform does not parse: Only SELECT/,
  },
  {
    what: 'two transforms',
    source: { format: 'csv', text: GOOD },
    transform: 'SELECT id FROM source; SELECT 1',
    error: /the transform must be one SELECT/,
  },
  {
    what: 'a transform that counts over batches',
    source: { format: 'csv', text: GOOD },
    transform: 'SELECT name, count(*) FROM source GROUP BY name',
    error: /it must work row by row/,
  },
  {
    what: 'a transform that reads a file of the node',
    source: { format: 'csv', text: GOOD },
    transform: "SELECT content FROM read_text('/etc/hostname'), source",
    error: /the transform cannot be done: .*Permission Error/,
  },
])(
  '$what fails the task group with a clear error, and publishes nothing',
  async ({ source, transform, error }) => {
    const { format, text, other } = source;
    const path = join(site.directory, `in.${format}`);
    if (text !== undefined) writeFileSync(path, text);
    const paths = [path];
    if (other !== undefined) {
      paths.push(join(site.directory, `other.${format}`));
      writeFileSync(paths[1]!, other);
    }
    const sink = site.sink();
    const ask = { directory: sink, source: files(format, ...paths), transform: transform ?? '' };
    expect(await finish(site.node, deployment(ask))).toEqual(['SUCCESS']);
    const end = await endOf(site.node);
    expect(stateOf(end)).toBe('FAILED');
    expect(end.error).toMatch(error);
    expect([...partsOf(sink), ...stagedIn(sink), ...site.coordinator.commits]).toEqual([]);
  },
);

test('a sink that cannot be made fails the task group with the path', async () => {
  const obstacle = join(site.directory, 'obstacle');
  writeFileSync(obstacle, '');
  await submit(site.node, deployment({ directory: join(obstacle, 'sink') }));
  const end = await endOf(site.node);
  expect(stateOf(end)).toBe('FAILED');
  expect(end.error).toMatch(/ENOTDIR.*obstacle/);
});

test('a sink without permission fails the task group with the path', async () => {
  // Nobody may make a directory there, not even root, who may everywhere else.
  const closed = process.getuid?.() === 0 ? '/sys/kernel' : site.sink();
  if (closed === site.sink()) mkdirSync(closed, { mode: 0o500 });
  await submit(site.node, deployment({ directory: join(closed, 'orders') }));
  const end = await endOf(site.node);
  expect(stateOf(end)).toBe('FAILED');
  expect(end.error).toMatch(/(EACCES|EPERM).*orders/);
});

// Root may write everywhere.
test.skipIf(process.getuid?.() === 0)(
  'a sink that takes no part, though there is room to stage in it, fails the task group before it reads anything',
  async () => {
    const sink = site.sink();
    mkdirSync(join(sink, '.staging'), { recursive: true });
    chmodSync(sink, 0o500);
    try {
      await submit(site.node, deployment({ directory: sink }));
      const end = await endOf(site.node);
      expect(stateOf(end)).toBe('FAILED');
      expect(end).toMatchObject({ rowsIn: 0n, error: expect.stringMatching(/EACCES.*access/) });
    } finally {
      chmodSync(sink, 0o700);
    }
  },
);

test('a checkpoint whose part is gone fails the restore; one whose part leaves the sink as well', async () => {
  const checkpoint = (published: string) => ({
    checkpointId: 3n,
    position: new Uint8Array(),
    parts: [{ staged: '.staging/x/c3.s1-1.csv', published, rows: 1n, bytes: 1n }],
    rowsIn: 1n,
    rowsOut: 1n,
  });
  for (const [job, published, error] of [
    ['gone', 'part.csv', /part\.csv is neither staged nor published/],
    ['outside', '../part.csv', /"\.\.\/part\.csv" of the checkpoint is not below the sink/],
  ] as const) {
    const restore = checkpoint(published) as never;
    await submit(site.node, deployment({ job, directory: site.sink(), restore }));
    expect((await endOf(site.node, 1, job)).error).toMatch(error);
  }
});
