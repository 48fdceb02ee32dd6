import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { WorkflowFailedError } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { steward as command } from '../cli/steward-command.js';
import { GROUP, type OptimizingSteward, startOptimizingSteward, upTo } from './optimizing-steward.js';

let steward: OptimizingSteward;
beforeAll(async () => {
  steward = await startOptimizingSteward();
});
afterAll(() => steward?.stop());

test.each<[string, string, unknown, RegExp]>([
  ['healStuckCommits', 'no object', 'junk', /^input: expected one object, got "junk"/],
  ['healStuckCommits', 'an unknown mode', { mode: 'destroy' }, /^mode: expected one of observe, repair/],
  ['healStuckCommits', 'an unknown grace', { graces: { patienceMs: 1 } }, /^patienceMs: unknown field/],
  [
    'healStuckCommits',
    'a negative grace',
    { graces: { ackTimeoutMs: -1 } },
    /^ackTimeoutMs: expected a whole number/,
  ],
  ['planOptimizing', 'a kind without a table', { kind: 'FULL' }, /^kind: give the table/],
  ['planOptimizing', 'a bad name', { table: '../x' }, /^table: expected 1 to 63 lower-case letters/],
  ['commitTable', 'nothing', undefined, /^input: expected one object/],
  [
    'commitTable',
    'a process that is a text',
    { table: 't', process: '7' },
    /^process: expected a whole number/,
  ],
  ['sweepTables', 'a grace of years', { gracePeriodMs: 1e12 }, /^gracePeriodMs: expected a whole number/],
])('%s started raw with %s fails at once and says why', async (workflowType, what, input, message) => {
  const cause = await failure(workflowType, `junk/${workflowType}/${what}`, input);
  expect(cause.type).toBe('InvalidInput');
  expect(cause.message).toMatch(message);
  expect((await steward.events(`junk/${workflowType}/${what}`)).total).toBeLessThanOrEqual(5);
});

test.each<[string, unknown, RegExp]>([
  ['planOptimizing', { table: 'nowhere' }, /table nowhere does not exist/],
  ['sweepTables', { table: 'nowhere' }, /table nowhere does not exist/],
  ['commitTable', { table: 'nowhere', process: 7 }, /table nowhere has no process 7/],
])('%s of what does not exist is rejected', async (workflowType, input, message) => {
  const cause = await failure(workflowType, `rejected/${workflowType}`, input);
  expect(cause.type).toBe('Rejected');
  expect(cause.message).toMatch(message);
});

test('the command makes, fills, shows and optimizes a table, and refuses what is wrong with the line, the field or the name', async () => {
  const made = await cli(
    'table',
    'create',
    'orders',
    '--group',
    GROUP,
    '--columns',
    'id:BIGINT,name:VARCHAR',
    '--json',
  );
  expect(made.document()).toMatchObject({ table: { name: 'orders', status: 'IDLE', files: 0 } });
  expect(await fails('table', 'create', 'orders', '--group', GROUP)).toMatch(/exists already/);
  expect(await fails('table', 'create', 'other')).toMatch(/optimizer group default does not exist/);
  expect(await fails('table', 'create', 'Other', '--group', GROUP)).toMatch(
    /^steward: name: expected 1 to 63/m,
  );
  expect(await fails('table', 'create', 'other', '--group', GROUP, '--columns', 'id')).toMatch(/name:TYPE/);

  expect(await fails('table', 'ingest', 'nowhere', file('good.csv', 'id,name\n1,a\n'))).toMatch(
    /table nowhere does not exist/,
  );
  expect(await fails('table', 'ingest', 'orders', '/nowhere/at-all.csv')).toMatch(/cannot be read: ENOENT/);
  expect(await fails('table', 'ingest', 'orders', file('what.txt', 'id\n1\n'))).toMatch(
    /says nothing of its format/,
  );
  expect(await fails('table', 'ingest', 'orders', file('bad.csv', 'id,name\n1,a\n2,b,c\n'))).toMatch(
    /bad\.csv: .*Line: 3.*nothing was ingested/,
  );
  expect(await fails('table', 'ingest', 'orders', file('text.csv', 'id,name\n1,a\nx,b\n'))).toMatch(
    /text\.csv: column id: row 2 has "x".*nothing was ingested/,
  );
  expect(await fails('table', 'ingest', 'orders', file('columns.csv', 'id,colour\n1,red\n'))).toMatch(
    /columns\.csv: .*(colour|name)/,
  );
  expect(await steward.status('orders')).toMatchObject({ files: 0, rows: 0, snapshotId: 0 });

  for (const at of upTo(3)) {
    const ingested = await cli(
      'table',
      'ingest',
      'orders',
      file(`o${at}.csv`, `id,name\n${at},a\n`),
      '--json',
    );
    expect(ingested.document()).toMatchObject({ table: 'orders', ingested: [{ rows: 1, known: false }] });
  }
  expect((await cli('table', 'show', 'orders')).stdout).toMatch(
    new RegExp(`group ${GROUP} has no live optimizer`),
  );
  const waiting = await cli('table', 'optimize', 'orders');
  expect(waiting.code).toBe(0);
  expect(waiting.stdout).toMatch(new RegExp(`nothing was started: group ${GROUP} has no live optimizer`));
  expect((await steward.status('orders')).status).toBe('PENDING');
  expect(await fails('table', 'optimize', 'nowhere')).toMatch(/table nowhere does not exist/);
  expect(await fails('heal', 'run', '--table', '../x')).toMatch(/expected 1 to 63 lower-case letters/);
  expect(await fails('heal', 'run', '--table', 'nowhere')).toMatch(/table nowhere does not exist/);

  await steward.optimizer('node-1');
  const optimized = await cli('table', 'optimize', 'orders', '--json');
  expect(optimized.document()).toMatchObject({ table: { files: 1, rows: 3, process: { state: 'SUCCESS' } } });
  expect((await cli('table', 'list')).stdout).toMatch(/orders +IDLE/);
  expect(await steward.ids('orders')).toEqual(upTo(3));
  expect((await cli('table', 'optimize', 'orders')).stdout).toMatch(/there are no two files to merge/);
}, 90_000);

test('what is planned to be done is shown, and nothing is done', async () => {
  await steward.table('dry', 3);
  for (const args of [
    ['table', 'create', 'wet', '--group', GROUP],
    ['table', 'optimize', 'dry'],
    ['heal', 'run'],
    ['schedule', 'ensure'],
  ]) {
    const { code, document } = await cli(...args, '--dry-run', '--json');
    expect(code, args.join(' ')).toBe(0);
    expect(document()).toMatchObject({ dryRun: true, plan: {} });
  }
  expect(await steward.status('dry')).toMatchObject({ status: 'IDLE', files: 3 });
  await expect(steward.client.tables.get('wet')).rejects.toMatchObject({ code: 'NOT_FOUND' });
});

async function failure(
  workflowType: string,
  workflowId: string,
  input: unknown,
): Promise<ApplicationFailure> {
  const handle = await steward.temporal.client.workflow.start(workflowType, {
    workflowId,
    taskQueue: 'steward',
    args: input === undefined ? [] : [input],
  });
  const error: unknown = await handle.result().catch((caught: unknown) => caught);
  if (!(error instanceof WorkflowFailedError))
    throw new Error(`expected a failed workflow, got ${String(error)}`);
  const cause = error.cause instanceof ApplicationFailure ? error.cause : error.cause?.cause;
  if (!(cause instanceof ApplicationFailure)) throw error;
  return cause;
}

function file(name: string, content: string): string {
  const path = join(steward.directory, name);
  writeFileSync(path, content);
  return path;
}

async function fails(...args: readonly string[]): Promise<string> {
  const { code, stderr } = await cli(...args);
  expect(code, `${args.join(' ')}: ${stderr}`).toBe(2);
  return stderr;
}

function cli(...args: readonly string[]) {
  return command([
    ...args,
    '--coordinator',
    steward.coordinatorUrl,
    '--temporal-address',
    steward.temporalAddress,
  ]);
}
