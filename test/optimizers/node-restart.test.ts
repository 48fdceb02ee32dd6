import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { GetTaskResultResponse_State } from '../../src/rpc/gen/steward/worker/v1/inventory_pb.js';
import { ended, FOR_EVER, finish, setFault, submit } from '../node/region-operations.js';
import { eventually } from '../support/eventually.js';
import { lives } from './optimizer-process.js';
import { smallFiles } from './parquet.js';
import { CATALOG, gone, hostForEachTest, release, request } from './resource-operations.js';

const host = hostForEachTest();

describe('a node that was killed', () => {
  test('finds its optimizers again, which worked on, and does not start them twice', async () => {
    const processId = await host.start(request('r1'));
    await host.node.kill();
    const task = await plan('1');
    await eventually('the optimizer works on', () => host.coordinator.stateOf(task.taskId) === 'DONE');
    await host.node.restart();
    expect(await host.list()).toMatchObject([{ processId, running: true }]);
    expect(host.spawned()).toHaveLength(1);
    expect(await host.start(request('r1'))).toBe(processId);
    expect(await finish(host.node, release('r1', { epoch: 2 }))).toEqual(['SUCCESS']);
    expect(lives(processId)).toBe(false);
  });

  test('ends the process that it adopted when a higher launch is wanted', async () => {
    const first = await host.start(request('r1'));
    await host.node.kill();
    await host.node.restart();
    const second = await host.start(request('r1', { epoch: 2 }));
    expect([lives(first), lives(second)]).toEqual([false, true]);
  });

  test('starts optimizers again that ended meanwhile', async () => {
    const first = await host.start(request('r1'));
    await eventually('it registers', () => host.coordinator.registered.length === 1);
    await host.node.kill();
    process.kill(Number.parseInt(first, 10), 'SIGKILL');
    await gone(first);
    await host.node.restart();
    const again = await eventually('it runs again', async () => {
      const [resource] = await host.list();
      return resource?.running === true && resource.processId !== first ? resource.processId : undefined;
    });
    expect(lives(again)).toBe(true);
    await eventually('with a new token', () => host.coordinator.registered.length === 2);
    expect(host.coordinator.registered.map(({ launch }) => launch)).toEqual([1n, 1n]);
  });

  test.each([
    ['which has its place by then', '0'],
    ['which has not got its place by then', '1500'],
  ])(
    'between spawning a process and recording it, %s, has one process for the launch',
    async (_what, delay) => {
      const operation = request('r1', { properties: { 'start-delay-ms': delay } });
      await setFault(host.node, { target: 'request-resource', kind: FOR_EVER });
      await submit(host.node, operation);
      await eventually('it was spawned', () => host.spawned().length === 1);
      if (delay === '0')
        await eventually('it has its place', async () => host.coordinator.registered.length === 1);
      await host.node.kill();
      await host.node.restart();
      expect(await ended(host.node, operation)).toBe('SUCCESS');
      const processId = await host.start(operation);
      await eventually('one of the spawned is left', () => host.spawned().filter(isThere).length === 1);
      expect(host.spawned().filter(isThere)).toEqual([Number.parseInt(processId, 10)]);
      expect(host.coordinator.registered).toHaveLength(1);
    },
  );

  test('while a process of the older launch had not got its place: only the newer launch works', async () => {
    const slow = request('r1', { properties: { 'start-delay-ms': '1500' } });
    await setFault(host.node, { target: 'request-resource', kind: FOR_EVER });
    await submit(host.node, slow);
    await eventually('it was spawned', () => host.spawned().length === 1);
    await host.node.kill();
    await host.node.restart();
    await submit(host.node, request('r1', { epoch: 2 }));
    const processId = await host.start(request('r1', { epoch: 2 }));
    await eventually('one of the spawned is left', () => host.spawned().filter(isThere).length === 1);
    expect(lives(processId)).toBe(true);
    await eventually('it registers', () => host.coordinator.registered.length > 0);
    expect(host.coordinator.registered.at(-1)?.launch).toBe(2n);
  });

  test('in the middle of a release goes on with it', async () => {
    const processId = await host.start(request('r1'));
    await setFault(host.node, { target: 'release-resource', kind: FOR_EVER });
    await submit(host.node, release('r1', { epoch: 2 }));
    await gone(processId);
    await host.node.kill();
    await host.node.restart();
    expect(await ended(host.node, release('r1', { epoch: 2 }))).toBe('SUCCESS');
    expect([await host.list(), host.spawned().length]).toEqual([[], 1]);
  });
});

describe('a node that is stopped', () => {
  test('ends its optimizers, and starts them again when it is started', async () => {
    const first = await host.start(request('r1', { threads: 2 }));
    await eventually('it registers', () => host.coordinator.registered.length === 1);
    expect(await host.node.stop()).toBe(0);
    expect(lives(first)).toBe(false);
    await host.node.restart();
    await eventually('it runs again', async () => (await host.list())[0]?.running);
    await eventually('it registers', () => host.coordinator.registered.length === 2);
    const { launch, threads } = host.coordinator.registered[1]!;
    expect([launch, threads]).toEqual([1n, 2]);
  });

  test('while an optimizer merges: the task is not lost', async () => {
    const task = await plan('1');
    await host.start(request('r1', { properties: { 'merge-delay-ms': '5000' } }));
    await eventually('the task is begun', () => host.coordinator.stateOf(task.taskId) === 'ACKED');
    expect(await host.node.stop()).toBe(0);
    await host.node.restart();
    await eventually('the coordinator is told', () => host.coordinator.stateOf(task.taskId) === 'DONE');
    expect(host.coordinator.resultOf(task.taskId)).toEqual({ error: 'the optimizer ended while it merged' });
  });

  test('and started with another coordinator gives its optimizers that one', async () => {
    await host.start(request('r1'));
    await host.node.kill();
    const { StandInCoordinator } = await import('./stand-in-coordinator.js');
    const other = new StandInCoordinator();
    await other.start();
    try {
      await host.node.restart(`--coordinator=${other.url}`);
      await eventually('it registers there', () => other.registered.length === 1);
      expect(await host.list()).toMatchObject([{ running: true }]);
    } finally {
      await other.stop();
    }
  });
});

describe('GetTaskResult', () => {
  const ask = async (taskId: string, attempt = 1, resourceId = 'r1') => {
    const resource = { catalogId: CATALOG, resourceId };
    const { state, result } = await host.node.inventory.getTaskResult({
      node: host.node.ref,
      resource,
      taskId,
      attempt,
    });
    return { state: GetTaskResultResponse_State[state], outcome: result?.outcome };
  };

  test('answers RUNNING while a live process works on it, and NONE when that was killed', async () => {
    const task = await plan('1');
    const processId = await host.start(request('r1', { properties: { 'hold-at': 'acked' } }));
    await eventually('it is begun', () => host.coordinator.stateOf(task.taskId) === 'ACKED');
    expect(await ask('p1/1')).toEqual({ state: 'RUNNING', outcome: undefined });
    process.kill(Number.parseInt(processId, 10), 'SIGKILL');
    await gone(processId);
    expect(await ask('p1/1')).toEqual({ state: 'NONE', outcome: undefined });
  });

  test('answers the result while it waits in the outbox, also of a process that is gone, and NONE afterwards', async () => {
    const task = await plan('1');
    const processId = await host.start(request('r1', { properties: { 'hold-at': 'recorded' } }));
    await eventually('it waits', async () => (await host.list())[0]?.unacknowledged === 1);
    const outputs = [{ path: task.output, rows: 20n, bytes: expect.any(BigInt) as bigint }];
    const merged = { state: 'RESULT', outcome: { case: 'merged', value: { outputs } } };
    expect(await ask('p1/1')).toMatchObject(merged);
    process.kill(Number.parseInt(processId, 10), 'SIGKILL');
    await gone(processId);
    expect(await ask('p1/1')).toMatchObject(merged);
    expect((await ask('p1/1', 2)).state).toBe('NONE');
    expect((await ask('p1/1', 1, 'r2')).state).toBe('NONE');
    await host.start(request('r1', { epoch: 2 }));
    await eventually('it is on record', async () => (await host.list())[0]?.unacknowledged === 0);
    expect(await ask('p1/1')).toEqual({ state: 'NONE', outcome: undefined });
  });

  test('answers why it failed', async () => {
    await plan('1');
    await host.start(request('r1', { properties: { 'merge-error': 'no', 'hold-at': 'recorded' } }));
    await eventually('it waits', async () => (await host.list())[0]?.unacknowledged === 1);
    expect(await ask('p1/1')).toEqual({ state: 'RESULT', outcome: { case: 'error', value: 'no' } });
  });

  test('refuses what names no resource or no task, and another node', async () => {
    const resource = { catalogId: CATALOG, resourceId: 'r1' };
    const { inventory, ref: node } = host.node;
    const taskId = 'p1/1';
    for (const wrong of [
      { node, taskId },
      { node, taskId, resource: { catalogId: '../..', resourceId: 'r1' } },
      { node, taskId, resource: { catalogId: CATALOG, resourceId: '../r1' } },
      { node, taskId: '', resource },
      { node, taskId: 'x'.repeat(1000), resource },
    ]) {
      await expect(inventory.getTaskResult(wrong)).rejects.toThrow('invalid_argument');
    }
    const stranger = { nodeId: 'node-1', ledgerId: CATALOG };
    await expect(inventory.getTaskResult({ node: stranger, taskId, resource })).rejects.toThrow(
      'failed_precondition',
    );
  });

  test('and ListResources can be disturbed', async () => {
    for (const target of ['GetTaskResult', 'ListResources']) {
      await setFault(host.node, { target, times: 1, kind: { case: 'error', value: 'unavailable' } });
    }
    await expect(ask('p1/1')).rejects.toThrow('unavailable');
    await expect(host.list()).rejects.toThrow('unavailable');
    expect((await ask('p1/1')).state).toBe('NONE');
  });
});

async function plan(id: string) {
  const location = join(host.node.data, 'table');
  mkdirSync(location, { recursive: true });
  const inputs = await smallFiles(location, 2);
  const task = { taskId: `p1/${id}`, attempt: 1, location, inputs, output: `data/${id}-1.parquet` };
  host.coordinator.plan(task);
  return task;
}

function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
