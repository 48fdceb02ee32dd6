import { spawn } from 'node:child_process';
import { appendFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Place } from '../../src/optimizer/place.js';
import { identityOf } from '../../src/process-identity.js';
import { builtProgram } from '../../src/project.js';
import { eventually } from '../support/eventually.js';
import { killWithUs } from '../support/guard.js';
import { benchForEachTest } from './optimizer-process.js';
import { rowsOf } from './parquet.js';

const bench = benchForEachTest();
const desired = { group: 'default', threads: 1, memoryMb: 128, properties: {} };

describe('an optimizer that is asked to end', () => {
  test('finishes a merge that is nearly done', async () => {
    const task = await bench.task();
    await bench.start('--property=merge-delay-ms=500');
    await eventually('the task is begun', () => bench.coordinator.stateOf('p1/1') === 'ACKED');
    expect(await bench.process!.stop()).toEqual({ code: 0, signal: null });
    expect(bench.coordinator.stateOf('p1/1')).toBe('DONE');
    expect(await rowsOf(bench.location, task.output)).toHaveLength(30);
    expect(bench.outbox()).toEqual([]);
  });

  test('gives up a merge that takes long, and the next process says so', async () => {
    const task = await bench.task();
    await bench.start('--property=merge-delay-ms=60000');
    await eventually('the task is begun', () => bench.coordinator.stateOf('p1/1') === 'ACKED');
    expect(await bench.process!.stop()).toEqual({ code: 0, signal: null });
    expect([bench.running().length, bench.outputs()]).toEqual([1, []]);
    await bench.start();
    await bench.done(task);
    expect(bench.coordinator.resultOf('p1/1')).toEqual({ error: 'the optimizer ended while it merged' });
  });

  test('does so while the coordinator is away', async () => {
    await bench.start();
    await bench.until('registered');
    await bench.coordinator.stop();
    await bench.until('cannot reach the coordinator; trying again');
    expect(await bench.process!.stop()).toEqual({ code: 0, signal: null });
  });
});

test('works on as many tasks at a time as it has threads', async () => {
  for (const id of ['1', '2', '3', '4']) await bench.task(id, 1);
  await bench.start('--threads=3', '--property=hold-at=acked');
  await bench.until('holding', 3);
  await eventually('three are begun', () => bench.running().length === 3);
  expect(['1', '2', '3', '4'].map((id) => bench.coordinator.stateOf(`p1/${id}`)).sort()).toEqual([
    'ACKED',
    'ACKED',
    'ACKED',
    'PLANNED',
  ]);
});

test('a merge that fails is a result; the next one works', async () => {
  const bad = await bench.task('1');
  const good = await bench.task('2');
  bad.inputs[0] = { ...bad.inputs[0]!, rows: 11 };
  await bench.start();
  await bench.done(bad);
  await bench.done(good);
  expect(bench.coordinator.resultOf('p1/1')).toEqual({
    error: 'data/small-0.parquet has 10 rows, the table lists it with 11',
  });
  expect(bench.outputs()).toEqual(['2-1.parquet']);
});

test('a task that leads out of the table is answered with why, and nothing is written', async () => {
  const task = await bench.task();
  bench.coordinator.plan({ ...task, taskId: 'p1/out', output: '../out.parquet' });
  await bench.start();
  await bench.done(task);
  await eventually('it is answered', () => bench.coordinator.resultOf('p1/out') !== undefined);
  expect(bench.coordinator.resultOf('p1/out')).toEqual({
    error: 'not a path within the table: "../out.parquet"',
  });
});

describe('the place of an optimizer', () => {
  test('is for one process at a time', async () => {
    await bench.start();
    const second = await run();
    expect(second).toEqual({
      code: 4,
      said: expect.stringContaining(`process ${bench.process!.pid} works in`) as string,
    });
    expect(bench.process!.running).toBe(true);
  });

  test('is not for a process of another launch than the one that is wanted there', async () => {
    new Place(bench.directory).want({ ...desired, launch: 2, wanted: true });
    expect((await run('--launch=1')).code).toBe(4);
    new Place(bench.directory).want({ ...desired, launch: 2, wanted: false });
    expect((await run('--launch=2')).code).toBe(4);
    expect(bench.coordinator.registered).toEqual([]);
  });

  test('is left by a process whose launch is not wanted any more', async () => {
    const place = new Place(bench.directory);
    place.want({ ...desired, launch: 1, wanted: true });
    const started = await bench.start('--launch=1');
    place.want({ ...desired, launch: 2, wanted: true });
    expect((await started.exited).code).toBe(4);
  });
});

test('ends when the process that it shall end with is gone', async () => {
  const other = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });
  const { pid, startedAt } = identityOf(other.pid!)!;
  killWithUs({ pid, startedAt });
  const started = await bench.start(`--exit-with=${pid}@${startedAt}`);
  other.kill('SIGKILL');
  expect((await started.exited).code).toBe(0);
  expect(bench.log().at(-1)).toMatchObject({ msg: 'ended', end: 'LEFT_ALONE' });
});

test('keeps its log within bounds', async () => {
  await bench.start();
  const log = join(bench.directory, 'optimizer.log');
  appendFileSync(log, 'x'.repeat(11 * 1024 * 1024));
  await eventually('the log was moved away', () => statSync(log).size === 0 && statSync(`${log}.1`).size > 0);
});

test.each([
  ['no resource', ['--resource=']],
  ['a coordinator that is no URL', ['--coordinator=here']],
  ['no threads', ['--threads=0']],
  ['too little memory', ['--memory-mb=63']],
  ['a property without a value', ['--property=hold-at']],
  ['a hold point that is none', ['--property=hold-at=lunch']],
  ['an unknown flag', ['--fast']],
])('%s is refused with one line', async (_what, flags) => {
  const { code, said } = await run(...flags);
  expect([code, said.trim().split('\n').length]).toEqual([2, 1]);
});

/** One more optimizer process, until it ends. */
async function run(...flags: string[]): Promise<{ code: number | null; said: string }> {
  const child = spawn(
    process.execPath,
    [
      builtProgram('src/optimizer/main.ts'),
      '--resource=r1',
      '--group=default',
      `--coordinator=${bench.coordinator.url}`,
      `--directory=${bench.directory}`,
      ...flags,
      '--exit-with-parent',
    ],
    { stdio: ['pipe', 'ignore', 'pipe'] },
  );
  let said = '';
  child.stderr.on('data', (bytes: Buffer) => {
    said += bytes.toString();
  });
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, said };
}
