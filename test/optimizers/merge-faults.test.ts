import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { startNode } from '../node/node-process.js';
import { FOR_EVER, setFault } from '../node/region-operations.js';
import { eventually } from '../support/eventually.js';
import { smallFiles } from './parquet.js';
import { hostForEachTest, request } from './resource-operations.js';

const host = hostForEachTest();

async function plan(id: string, attempt = 1) {
  const location = join(host.node.data, 'table');
  mkdirSync(location, { recursive: true });
  const inputs = await smallFiles(location, 2);
  host.coordinator.plan({
    taskId: `p1/${id}`,
    attempt,
    location,
    inputs,
    output: `data/${id}-${attempt}.parquet`,
  });
}

const done = (id: string) => host.coordinator.stateOf(`p1/${id}`) === 'DONE';
const left = async () => (await host.node.faults.listFaults({})).faults.map(({ times }) => times);

test('a delay of merge-files holds the merges that it matches, until it is cleared', async () => {
  await setFault(host.node, { target: 'merge-files', match: 'p1/1@', kind: FOR_EVER });
  await host.start(request('r1', { threads: 2 }));
  await plan('1');
  await plan('2');
  await eventually('the other one is done', () => done('2'));
  expect([host.coordinator.stateOf('p1/1'), await left()]).toEqual(['ACKED', [0]]);
  await host.node.faults.clearFaults({});
  await eventually('it goes on', () => done('1'));
  expect(await left()).toEqual([]);
});

test('a failure of merge-files strikes as often as it says, over all optimizers of the node', async () => {
  const kind = { case: 'fail', value: { message: 'as you wish' } } as const;
  await setFault(host.node, { target: 'merge-files', times: 2, kind });
  await Promise.all([host.start(request('r1')), host.start(request('r2'))]);
  for (const id of ['1', '2', '3', '4']) await plan(id);
  await eventually('all are done', () => ['1', '2', '3', '4'].every(done));
  const results = ['1', '2', '3', '4'].map((id) => host.coordinator.resultOf(`p1/${id}`)!);
  expect(results.filter((result) => 'error' in result)).toEqual([
    { error: 'as you wish' },
    { error: 'as you wish' },
  ]);
  expect(await left()).toEqual([]);
});

test('faults of merges end with the node that they were set at', async () => {
  await setFault(host.node, { target: 'merge-files', kind: FOR_EVER });
  await host.start(request('r1'));
  await host.node.kill();
  await host.node.restart();
  await plan('1');
  await eventually('it is done', () => done('1'));
});

test('a fault of merges that cannot strike is refused', async () => {
  const often = { target: 'merge-files', times: 1001, kind: FOR_EVER };
  await expect(setFault(host.node, often)).rejects.toThrow('1000');
  const plain = await startNode();
  try {
    await expect(setFault(plain, { target: 'merge-files', kind: FOR_EVER })).rejects.toThrow('coordinator');
  } finally {
    await plain.end();
  }
});
