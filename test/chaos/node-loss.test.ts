import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { OperationHandle } from '../../src/client/operation-handle.js';
import { eventually } from '../support/eventually.js';
import { type Steward, startSteward } from '../support/steward.js';
import { disagreements, isAnythingOnDisk, unfinishedOnDisk } from './agreement.js';
import { deletedRegions, deletionsUnderWay, slow } from './slow-regions.js';

let steward: Steward;
beforeAll(async () => {
  // The coordinator's: who places replicas must not count a node as alive that an operator may already give up.
  steward = await startSteward({
    nodes: 4,
    workerEnv: { STEWARD_NODE_TIMEOUT_MS: '2000' },
    // Enough for the first round of a recreation.
    continueAsNewAfter: 8,
  });
  await steward.nodesAlive();
});
afterEach(async () => {
  await steward.clearFaults();
  expect(await disagreements(steward)).toEqual([]);
  expect(await forgotten()).toEqual([]);
});
afterAll(() => steward.stop());

test('I4: a removal waits for no lost node but its own replica; forgetting that ends it, and the sweep removes what the node brings back', async () => {
  const { group, nodes, lost } = await groupOnThree('removed');
  await expect(
    steward.client.regionGroups.forgetReplica({ groupId: group, nodeId: lost }),
  ).rejects.toMatchObject({ code: 'REJECTED', message: expect.stringContaining(`${lost} lives`) });
  await lose(lost);
  const removal = await steward.client.regionGroups.remove({ groups: [group] });
  await expectBlockedBy(removal, lost);
  for (const node of nodes) expect(isAnythingOnDisk(steward, node)).toBe(node === lost);
  expect((await steward.client.regionGroups.get(group)).replicas.map(({ nodeId }) => nodeId)).toEqual([lost]);

  await steward.client.regionGroups.forgetReplica({ groupId: group, nodeId: lost });
  expect(await removal.result()).toEqual({ outcome: 'REMOVED', groups: 1, replicas: 3 });
  await expect(steward.client.regionGroups.get(group)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  expect(await forgotten()).toEqual([{ group, node: lost, actor: 'tester' }]);

  await comeBack(lost);
  expect((await sweep('observe')).nodes).toContainEqual(
    expect.objectContaining({ nodeId: lost, leaked: [group], leakedTotal: 1 }),
  );
  expect(steward.regionsOnDisk(lost)).toEqual([group]);
  expect(deletedRegions(steward, lost)).not.toContain(group);
  expect(await forgotten()).toHaveLength(1);

  expect(await sweep('repair')).toMatchObject({ removed: 1, recreations: [] });
  expect(isAnythingOnDisk(steward, lost)).toBe(false);
  expect(deletedRegions(steward, lost)).toContain(group);
  expect(await forgotten()).toEqual([]);
  await (await steward.client.databases.delete('removed')).result();
});

test('a database deletion with a lost node ends when its replica is forgotten, and not before', async () => {
  const { group, lost } = await groupOnThree('deleted');
  await lose(lost);
  const deletion = await steward.client.databases.delete('deleted');
  await expectBlockedBy(deletion, lost);
  expect(await steward.client.databases.get('deleted')).toMatchObject({ state: 'DELETING', replicas: 1 });

  await steward.client.regionGroups.forgetReplica({ groupId: group, nodeId: lost });
  expect(await deletion.result()).toEqual({ outcome: 'DELETED', groups: 1, replicas: 3 });
  await comeBack(lost);
  expect(await sweep('repair')).toMatchObject({ removed: 1 });
});

test('a node that is lost in the middle of a deletion ends it when it returns, and the sweep drops the record alone', async () => {
  const { group, lost } = await groupOnThree('half-deleted');
  await slow(steward, [lost], 'delete-region');
  const deletion = await steward.client.databases.delete('half-deleted');
  await deletionsUnderWay(steward, [lost], [group]);
  await lose(lost);
  expect(unfinishedOnDisk(steward, lost)).toEqual([`trash/${group}`]);
  await steward.client.regionGroups.forgetReplica({ groupId: group, nodeId: lost });
  expect(await deletion.result()).toMatchObject({ outcome: 'DELETED' });

  await comeBack(lost);
  await eventually('the node ends its deletion by itself', () => !isAnythingOnDisk(steward, lost));
  expect(await sweep('repair')).toMatchObject({ removed: 0, recreations: [] });
  expect(deletedRegions(steward, lost).filter((id) => id === group)).toHaveLength(1);
});

test('a forgotten replica of a running region group comes back on another node; placed on the lost node again, its record is dropped', async () => {
  const { group, nodes, lost, spare } = await groupOnThree('running');
  const kept = nodes.filter((node) => node !== lost);
  await lose(lost);
  await steward.client.regionGroups.forgetReplica({ groupId: group, nodeId: lost });
  expect((await sweep('observe')).lacking).toEqual([group]);
  await recreate('running', group);
  expect(await running(group)).toEqual([...kept, spare].sort());
  expect(steward.regionsOnDisk(spare)).toEqual([group]);

  // Now the other way round: the spare node is lost, and the first one is there again with what it had.
  await lose(spare);
  await steward.client.regionGroups.forgetReplica({ groupId: group, nodeId: spare });
  expect((await forgotten()).map(({ node }) => node)).toEqual([lost, spare].sort());
  await comeBack(lost);
  await recreate('running', group);
  expect(await running(group)).toEqual(nodes);
  expect((await forgotten()).map(({ node }) => node)).toEqual([spare]);

  await comeBack(spare);
  expect(await sweep('repair')).toMatchObject({ removed: 1, recreations: [] });
  for (const node of nodes) expect(steward.regionsOnDisk(node)).toEqual([group]);
  expect(isAnythingOnDisk(steward, spare)).toBe(false);
  await (await steward.client.databases.delete('running')).result();
});

test('a recreation that waits for a lost node goes to another one as soon as the replica there is forgotten, in a new run when it is time for one', async () => {
  const { group, nodes, lost, spare } = await groupOnThree('waiting');
  await lose(lost);
  await steward.client.regionGroups.forgetReplica({ groupId: group, nodeId: lost });
  await steward.fault(spare, {
    target: 'create-region',
    kind: { case: 'fail', value: { message: 'full' } },
  });
  const recreation = await steward.client.regionGroups.recreateMissing({
    database: 'waiting',
    groups: [group],
  });
  await eventually('a failed attempt', () => steward.effects(spare, 'create-region').length > 0);
  await lose(spare);
  await expectBlockedBy(recreation, spare);
  await comeBack(lost);
  expect(await recreation.describe()).toMatchObject({ status: 'RUNNING' });

  await steward.client.regionGroups.forgetReplica({ groupId: group, nodeId: spare });
  expect(await recreation.result()).toEqual({ outcome: 'COMPLETE' });
  expect(await running(group)).toEqual(nodes);
  const firstRun = steward.temporal.client.workflow.getHandle(recreation.operationId, recreation.runId);
  expect((await firstRun.describe()).status.name).toBe('CONTINUED_AS_NEW');
  await comeBack(spare);
  expect(await sweep('repair')).toMatchObject({ removed: 0, recreations: [] });
  await (await steward.client.databases.delete('waiting')).result();
});

interface GroupOnThree {
  readonly group: number;
  readonly nodes: readonly string[];
  /** One of the nodes, to be lost. */
  readonly lost: string;
  /** The node that has no replica of it. */
  readonly spare: string;
}

async function groupOnThree(database: string): Promise<GroupOnThree> {
  const [group] = await steward.database(database, 1);
  const nodes = await running(group!);
  expect(nodes).toHaveLength(3);
  const { name: spare } = steward.nodes.find(({ name }) => !nodes.includes(name))!;
  return { group: group!, nodes, lost: nodes[1]!, spare };
}

/** Nodes of the region group's running replicas. */
async function running(group: number): Promise<string[]> {
  const { replicas } = await steward.client.regionGroups.get(group);
  return replicas.filter(({ state }) => state === 'RUNNING').map(({ nodeId }) => nodeId);
}

async function lose(nodeId: string): Promise<void> {
  await steward.node(nodeId).kill();
  await eventually(`${nodeId} counts as lost`, async () => {
    const node = (await steward.client.nodes.list()).find((one) => one.nodeId === nodeId);
    return node?.alive === false;
  });
}

async function comeBack(nodeId: string): Promise<void> {
  await steward.node(nodeId).restart();
  await steward.nodesAlive([nodeId]);
}

/** The operation has done all but what the node has to do, and names it, also on the pending activity. */
async function expectBlockedBy(operation: OperationHandle<unknown>, nodeId: string): Promise<void> {
  const { blockers, pendingActivities, progress } = await eventually(`${nodeId} is named`, async () => {
    const found = await steward.client.operations.get(operation.operationId);
    return found.pendingActivities.length === 1 && found.blockers.length > 0 && found;
  });
  expect(blockers).toEqual([expect.stringContaining(`${nodeId} does not answer`)]);
  expect(pendingActivities).toMatchObject([
    {
      activityType: 'reconcileRegions',
      summary: expect.stringContaining(`1 region on ${nodeId}`),
      lastFailure: expect.stringContaining(`BLOCKED: ${nodeId} does not answer`),
    },
  ]);
  expect(progress?.openByNode).toEqual([{ nodeId, replicas: 1 }]);
}

async function recreate(database: string, group: number): Promise<void> {
  const recreation = await steward.client.regionGroups.recreateMissing({ database, groups: [group] });
  expect(await recreation.result()).toEqual({ outcome: 'COMPLETE' });
}

async function sweep(mode: 'observe' | 'repair') {
  return (await steward.client.sweeps.run({ mode, gracePeriodMs: 0 })).result();
}

/** The records of replicas that were let go of. */
async function forgotten(): Promise<{ group: number; node: string; actor: string }[]> {
  return steward.catalog
    .selectFrom('forgotten_replica')
    .select(['group_id as group', 'node_id as node', 'actor'])
    .orderBy('node_id')
    .execute();
}
