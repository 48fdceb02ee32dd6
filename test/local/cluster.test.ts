import { afterAll, beforeAll, expect, test } from 'vitest';
import { isAlive } from '../../src/process-identity.js';
import { type Cluster, startCluster } from '../support/cluster.js';

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster({ nodes: 2, ownPostgres: true });
});
afterAll(() => cluster.stop());

test('a cluster is real processes that are killed and restarted one by one', async () => {
  expect(cluster.nodes.map(({ name }) => name)).toEqual(['node-1', 'node-2']);
  const node = cluster.node('node-1');
  const url = cluster.nodeUrl('node-1');
  const { pid } = node;
  await node.kill();
  expect(node.running).toBe(false);
  await node.restart();
  expect(node.running).toBe(true);
  expect(node.pid).not.toBe(pid);
  expect(cluster.nodeUrl('node-1')).toBe(url);

  await cluster.postgres?.kill();
  await cluster.postgres?.restart();
  await cluster.coordinator.restart();
  await cluster.worker.restart();
  expect(cluster.nodes.every(({ running }) => running)).toBe(true);
});

test('a node can be added, and what is not there is told', async () => {
  await cluster.addNode('node-9');
  expect(cluster.node('node-9').running).toBe(true);
  expect(() => cluster.node('node-7')).toThrow('no node-7, only node-1, node-2, node-9');
});

test('nothing of a stopped cluster runs on', async () => {
  const other = await startCluster({ nodes: 1 });
  const identities = [other.temporal.process.identity];
  const pids = [other.coordinator, other.worker, ...other.nodes].map(({ pid }) => pid);
  await other.stop();
  expect(identities.filter(isAlive)).toEqual([]);
  for (const pid of pids) expect(() => process.kill(pid, 0)).toThrow('ESRCH');
});
