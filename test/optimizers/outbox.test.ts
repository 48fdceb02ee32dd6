import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Code } from '@connectrpc/connect';
import { describe, expect, test } from 'vitest';
import { Place } from '../../src/optimizer/place.js';
import { HOLD_POINTS } from '../../src/optimizer/properties.js';
import { eventually } from '../support/eventually.js';
import { benchForEachTest } from './optimizer-process.js';
import { rowsOf } from './parquet.js';

const bench = benchForEachTest();

test('a task is merged, its result is on record, and nothing else is left', async () => {
  const task = await bench.task();
  await bench.start();
  await bench.done(task);
  const rows = await rowsOf(bench.location, task.output);
  expect(rows).toHaveLength(30);
  expect(new Set(rows).size).toBe(30);
  expect(bench.coordinator.resultOf('p1/1')).toEqual({
    outputs: [{ path: task.output, rows: 30, bytes: expect.any(Number) as number }],
  });
  expect([bench.outputs(), bench.outbox(), bench.running()]).toEqual([['1-1.parquet'], [], []]);
  const { resourceId, group, token, launch, threads, memoryMb, nodeId } = bench.coordinator.registered[0]!;
  expect({ resourceId, group, token, launch, threads, memoryMb, nodeId }).toEqual({
    resourceId: 'r1',
    group: 'default',
    token: '',
    launch: 0n,
    threads: 1,
    memoryMb: 256,
    nodeId: '',
  });
});

describe('an optimizer that is killed', () => {
  test.each(HOLD_POINTS)(
    'at the point "%s" leaves a task that gets one result and is merged at most once',
    async (point) => {
      const task = await bench.task();
      await bench.killAt(point);
      expect(bench.coordinator.completions).toHaveLength(point === 'completed' ? 1 : 0);
      const merges = point === 'acked' || point === 'merged' ? 0 : 1;
      expect(bench.count('merge done')).toBe(merges);
      await bench.start();
      await bench.done(task);
      expect(bench.count('merge done')).toBe(merges);
      // A new token, under which the result of the old one is completed.
      expect(bench.coordinator.completions.at(-1)!.token).toBe('token-2');
      expect(bench.coordinator.completions).toHaveLength(point === 'completed' ? 2 : 1);
      if (merges === 0) {
        expect(bench.coordinator.resultOf('p1/1')).toEqual({ error: 'the optimizer ended while it merged' });
        expect(bench.outputs()).toEqual([]);
      } else {
        const outputs = [{ path: task.output, rows: 30, bytes: expect.any(Number) as number }];
        expect(bench.coordinator.resultOf('p1/1')).toEqual({ outputs });
        expect(bench.outputs()).toEqual(['1-1.parquet']);
        expect(await rowsOf(bench.location, task.output)).toHaveLength(30);
      }
      expect([bench.outbox(), bench.running()]).toEqual([[], []]);
    },
  );

  test('completes what is in its outbox before it polls', async () => {
    await bench.task('1');
    await bench.killAt('recorded');
    const second = await bench.task('2');
    await bench.start();
    await bench.done(second);
    const { calls } = bench.coordinator;
    const again = calls.lastIndexOf('Register');
    expect(
      calls
        .slice(again, again + 3)
        .filter((call) => call !== 'Touch')
        .slice(0, 2),
    ).toEqual(['Register', 'CompleteTask']);
    expect(calls.indexOf('PollTask', again)).toBeGreaterThan(calls.indexOf('CompleteTask', again));
  });
});

test('an optimizer that may not register any more hands in its outbox before it ends', async () => {
  const task = await bench.task();
  await bench.killAt('recorded');
  bench.coordinator.refuse = (call) => (call === 'Register' ? Code.FailedPrecondition : undefined);
  const { exited } = await bench.start();
  expect((await exited).code).toBe(3);
  expect(bench.coordinator.completions).toMatchObject([{ taskId: task.taskId, token: 'r1' }]);
  expect(bench.coordinator.stateOf(task.taskId)).toBe('DONE');
  expect([bench.outbox(), bench.outputs()]).toEqual([[], ['1-1.parquet']]);
});

test('an optimizer whose place is not wanted any more hands in its outbox before it ends', async () => {
  const task = await bench.task();
  const place = new Place(bench.directory);
  const desired = { launch: 1, group: 'default', threads: 1, memoryMb: 128, properties: {}, wanted: true };
  place.want(desired);
  // Taken in the name of the resource alone, so that the optimizer itself does not get rid of it before.
  const { completions } = bench.coordinator;
  bench.coordinator.refuse = (call) =>
    call === 'CompleteTask' && completions.at(-1)?.token !== 'r1' ? Code.Unavailable : undefined;
  const { exited } = await bench.start('--launch=1');
  await eventually('a result waits', () => completions.length > 0);
  place.want({ ...desired, wanted: false });
  expect((await exited).code).toBe(4);
  expect(bench.coordinator.stateOf(task.taskId)).toBe('DONE');
  expect(bench.outbox()).toEqual([]);
});

test('an optimizer that is told to end keeps what nobody takes, and ends', async () => {
  await bench.task();
  await bench.killAt('recorded');
  bench.coordinator.refuse = (call) =>
    call === 'Register' ? Code.FailedPrecondition : call === 'CompleteTask' ? Code.Unavailable : undefined;
  const { exited } = await bench.start();
  expect((await exited).code).toBe(3);
  expect(bench.outbox()).toHaveLength(1);
});

test('a task that is handed out again while its result is in the outbox is not merged again', async () => {
  const task = await bench.task();
  await bench.killAt('recorded');
  bench.coordinator.refuse = (call) => (call === 'CompleteTask' ? Code.InvalidArgument : undefined);
  await bench.start();
  await bench.until('the coordinator does not understand the result; kept');
  expect(bench.outbox()).toHaveLength(1);
  bench.coordinator.refuse = () => undefined;
  bench.coordinator.plan(task);
  await bench.done(task);
  expect(bench.count('merge done')).toBe(1);
});

test('a stale result is dropped with its output', async () => {
  await bench.task();
  bench.coordinator.refuse = (call) => (call === 'CompleteTask' ? Code.Aborted : undefined);
  await bench.start();
  await bench.until('result is stale; dropped with its output');
  await eventually('nothing is left', () => bench.outbox().length === 0 && bench.outputs().length === 0);
});

test('a task that was planned again before it was begun is dropped', async () => {
  await bench.task();
  bench.coordinator.refuse = (call) => (call === 'AckTask' ? Code.Aborted : undefined);
  await bench.start();
  await bench.until('task dropped before it was begun');
  await eventually('its marker is gone', () => bench.running().length === 0);
  expect(bench.count('merge done')).toBe(0);
});

test('a result that nobody can read is left alone, and holds nothing up', async () => {
  await bench.task();
  await bench.killAt('recorded');
  writeFileSync(join(bench.directory, 'outbox', 'junk.json'), 'junk');
  await bench.start();
  await eventually('the good one is completed', () => bench.coordinator.stateOf('p1/1') === 'DONE');
  await eventually('only the bad one is left', () => bench.outbox().join() === 'junk.json');
});
