import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  cancel,
  creation,
  ended,
  FOR_EVER,
  finish,
  say,
  setFault,
  statusOf,
  submit,
} from '../node/region-operations.js';
import { eventually } from '../support/eventually.js';
import { lives, namesIn } from './optimizer-process.js';
import { CATALOG, gone, hostForEachTest, release, request } from './resource-operations.js';

const host = hostForEachTest();

describe('request-resource', () => {
  test('starts an optimizer that registers with what was asked for, and lists it', async () => {
    const processId = await host.start(request('r1', { group: 'g', threads: 2, memoryMb: 64 }));
    expect(lives(processId)).toBe(true);
    await eventually('it registers', () => host.coordinator.registered.length === 1);
    const { resourceId, group, launch, threads, memoryMb, nodeId } = host.coordinator.registered[0]!;
    expect([resourceId, group, launch, threads, memoryMb, nodeId]).toEqual(['r1', 'g', 1n, 2, 64, 'node-1']);
    expect(await host.list()).toMatchObject([
      {
        resource: { catalogId: CATALOG, resourceId: 'r1' },
        group: 'g',
        epoch: 1n,
        processId,
        running: true,
        unacknowledged: 0,
      },
    ]);
    const { result } = await statusOf(host.node, request('r1', { group: 'g', threads: 2, memoryMb: 64 }));
    expect(result.value?.properties).toEqual({ log: join(host.place('r1'), 'optimizer.log') });
    expect((await host.node.info.getNodeInfo({})).capabilities).toEqual([
      'regions',
      'resources',
      'task-groups',
      'faults',
    ]);
  });

  test('of one launch, ten times and at the same time, is one process', async () => {
    const answers = await Promise.all(Array.from({ length: 10 }, () => submit(host.node, request('r1'))));
    expect(answers.flat().map(say)).not.toContain('REFUSED(INVALID_ARGUMENT)');
    const processId = await host.start(request('r1'));
    expect(host.spawned()).toEqual([Number.parseInt(processId, 10)]);
  });

  test('of one launch under a new attempt joins the process that is there', async () => {
    const fault = { case: 'fail', value: { message: 'lost', afterEffect: true } } as const;
    await setFault(host.node, { target: 'request-resource', times: 1, kind: fault });
    expect(await finish(host.node, request('r1'))).toEqual(['FAIL(INTERNAL)']);
    const processId = await host.start(request('r1', { attempt: 2 }));
    expect(host.spawned()).toEqual([Number.parseInt(processId, 10)]);
  });

  test('of a higher launch ends the older process first; a lower one is stale', async () => {
    const first = await host.start(request('r1'));
    const second = await host.start(request('r1', { epoch: 2 }));
    expect([lives(first), lives(second)]).toEqual([false, true]);
    expect((await submit(host.node, request('r1'))).map(say)).toEqual(['REFUSED(STALE_EPOCH)']);
    expect(await host.list()).toMatchObject([{ epoch: 2n, processId: second, running: true }]);
  });

  test('of a higher launch inherits the outbox', async () => {
    const task = await hostTask();
    await host.start(request('r1', { properties: { 'hold-at': 'recorded' } }));
    await eventually('a result waits', async () => (await host.list())[0]?.unacknowledged === 1);
    await host.start(request('r1', { epoch: 2 }));
    await eventually('the result is on record', () => host.coordinator.stateOf(task.taskId) === 'DONE');
    await eventually('the outbox is empty', async () => (await host.list())[0]?.unacknowledged === 0);
    expect(host.log('r1').filter(({ msg }) => msg === 'merge done')).toHaveLength(1);
  });

  test('ends an older process that takes no notice of being asked to end', async () => {
    const first = await host.start(request('r1'));
    process.kill(Number.parseInt(first, 10), 'SIGSTOP');
    const second = await host.start(request('r1', { epoch: 2 }));
    expect([lives(first), lives(second)]).toEqual([false, true]);
  });

  test('that cannot be done ends as FAIL with the reason, leaves nothing, and a new attempt works', async () => {
    const wrong = request('r1', { properties: { 'merge-delay-ms': 'soon' } });
    expect(await finish(host.node, wrong)).toEqual(['FAIL(INTERNAL)']);
    expect((await statusOf(host.node, wrong)).error?.message).toContain('property merge-delay-ms');
    expect([existsSync(host.place('r1')), await host.list()]).toEqual([false, []]);
    await host.start(request('r1', { attempt: 2 }));
  });

  test('that is canceled while it starts leaves nothing', async () => {
    await setFault(host.node, { target: 'request-resource', kind: FOR_EVER });
    await submit(host.node, request('r1'));
    await eventually('it was spawned', () => host.spawned().length === 1);
    await cancel(host.node, request('r1'));
    expect(await ended(host.node, request('r1'))).toBe('FAIL(CANCELED)');
    expect([existsSync(host.place('r1')), await host.list()]).toEqual([false, []]);
    await eventually('the process is gone', () => !isThere(host.spawned()[0]!));
  });

  test.each([
    ['no threads', { threads: 0 }],
    ['too many threads', { threads: 65 }],
    ['too little memory', { memoryMb: 63 }],
    ['a group without a name', { group: '' }],
  ])('with %s is refused', async (_what, wanted) => {
    expect((await submit(host.node, request('r1', wanted))).map(say)).toEqual(['REFUSED(INVALID_ARGUMENT)']);
    expect(await host.list()).toEqual([]);
  });
});

describe('release-resource', () => {
  test('ends the process and removes all of it', async () => {
    const processId = await host.start(request('r1'));
    expect(await finish(host.node, release('r1', { epoch: 2 }))).toEqual(['SUCCESS']);
    expect([lives(processId), existsSync(host.place('r1')), await host.list()]).toEqual([false, false, []]);
    expect(namesIn(join(host.node.data, 'resources-trash'))).toEqual([]);
  });

  test('of one that was never there is SUCCESS', async () => {
    expect(await finish(host.node, release('never'))).toEqual(['SUCCESS']);
  });

  test('hands in what the outbox still has, in the name of the resource, however the optimizer ended', async () => {
    const stopped = await hostTask('1');
    await host.start(request('r1', { properties: { 'hold-at': 'recorded' } }));
    await eventually('a result waits', async () => (await host.list())[0]?.unacknowledged === 1);
    expect(host.coordinator.stateOf(stopped.taskId)).toBe('ACKED');
    expect(await finish(host.node, release('r1', { epoch: 2 }))).toEqual(['SUCCESS']);
    expect(host.coordinator.completions).toMatchObject([{ taskId: stopped.taskId, token: 'r1' }]);
    expect(host.coordinator.stateOf(stopped.taskId)).toBe('DONE');

    const killed = await hostTask('2');
    const processId = await host.start(request('r2', { properties: { 'hold-at': 'recorded' } }));
    await eventually('a result waits', async () => (await host.list())[0]?.unacknowledged === 1);
    process.kill(Number.parseInt(processId, 10), 'SIGKILL');
    expect(await finish(host.node, release('r2', { epoch: 2 }))).toEqual(['SUCCESS']);
    expect(host.coordinator.stateOf(killed.taskId)).toBe('DONE');
    expect(tableFiles()).toEqual(['1-1.parquet', '2-1.parquet']);
  });

  test('waits neither for a coordinator that takes a result and never answers, nor for one that is away', async () => {
    const neverAnswers = async () => {
      host.coordinator.holdCompletion = () => new Promise(() => {});
    };
    for (const [resource, silence] of [
      ['r1', neverAnswers],
      ['r2', () => host.coordinator.stop()],
    ] as const) {
      await hostTask(resource.slice(1));
      await host.start(request(resource, { properties: { 'hold-at': 'recorded' } }));
      await eventually('a result waits', async () => (await host.list())[0]?.unacknowledged === 1);
      await silence();
      expect(await finish(host.node, release(resource, { epoch: 2 }))).toEqual(['SUCCESS']);
      expect(existsSync(host.place(resource))).toBe(false);
    }
    expect(host.coordinator.completions).toHaveLength(1);
  });

  test('removes what a merge had begun to write into the table, and no output that may be on record', async () => {
    const begun = await hostTask('1');
    await host.start(request('r1', { properties: { 'hold-at': 'merged' } }));
    await eventually('the temporary output is there', () =>
      tableFiles().some((name) => name.endsWith('.partial')),
    );
    expect(await finish(host.node, release('r1', { epoch: 2 }))).toEqual(['SUCCESS']);
    expect(tableFiles()).toEqual([]);
    expect(begun.output).toBe('data/1-1.parquet');
    await hostTask('2');
    await host.start(request('r2', { properties: { 'hold-at': 'completed' } }));
    await eventually('the second is on record', () => host.coordinator.stateOf('p1/2') === 'DONE');
    expect(await finish(host.node, release('r2', { epoch: 2 }))).toEqual(['SUCCESS']);
    expect(tableFiles()).toEqual(['2-1.parquet']);
  });

  test('a launch that comes after its release is stale', async () => {
    await host.start(request('r1'));
    expect(await finish(host.node, release('r1', { epoch: 2 }))).toEqual(['SUCCESS']);
    expect((await submit(host.node, request('r1'))).map(say)).toEqual(['REFUSED(STALE_EPOCH)']);
  });
});

describe('ListResources', () => {
  test('pages through all resources in order, and of one catalog', async () => {
    const other = '00000000-0000-4000-8000-000000000000';
    await Promise.all([
      host.start(request('b')),
      host.start(request('a')),
      host.start(request('z', { catalogId: other })),
    ]);
    const page = await host.node.inventory.listResources({ node: host.node.ref, pageSize: 2 });
    const rest = await host.node.inventory.listResources({
      node: host.node.ref,
      pageSize: 2,
      pageToken: page.nextPageToken,
    });
    const all = [...page.resources, ...rest.resources].map(({ resource }) => resource?.resourceId);
    expect(all).toEqual(CATALOG < other ? ['a', 'b', 'z'] : ['z', 'a', 'b']);
    expect(rest.nextPageToken).toBe('');
    const mine = await host.node.inventory.listResources({ node: host.node.ref, catalogId: CATALOG });
    expect(mine.resources.map(({ resource }) => resource?.resourceId)).toEqual(['a', 'b']);
    await expect(
      host.node.inventory.listResources({ node: host.node.ref, pageToken: '../..' }),
    ).rejects.toThrow('page_token');
  });

  test('tells of a process that ended that it does not run, and the node does not start it again', async () => {
    const processId = await host.start(request('r1'));
    process.kill(Number.parseInt(processId, 10), 'SIGKILL');
    await gone(processId);
    expect(await host.list()).toMatchObject([{ processId, running: false }]);
    expect(host.spawned()).toHaveLength(1);
  });
});

test('a node without a coordinator refuses resources and does not tell of any', async () => {
  const { startNode } = await import('../node/node-process.js');
  const plain = await startNode();
  try {
    expect((await submit(plain, request('r1'))).map(say)).toEqual(['REFUSED(UNSUPPORTED)']);
    await expect(plain.inventory.listResources({ node: plain.ref })).rejects.toThrow('capability resources');
    expect(await finish(plain, creation(1))).toEqual(['SUCCESS']);
  } finally {
    await plain.end();
  }
});

function tableFiles(): string[] {
  return namesIn(join(host.node.data, 'table', 'data')).filter((name) => !name.startsWith('small-'));
}

async function hostTask(id = '1') {
  const { smallFiles } = await import('./parquet.js');
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
