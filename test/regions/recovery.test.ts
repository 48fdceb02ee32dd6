import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { eventually } from '../support/eventually.js';
import { type Steward, startSteward } from '../support/steward.js';

const NODES = ['node-1', 'node-2', 'node-3'];

let steward: Steward;
beforeAll(async () => {
  steward = await startSteward();
});
afterEach(() => steward.clearFaults());
afterAll(() => steward.stop());

test('I2: the worker is killed during a slow removal: the removal goes on, and no deletion runs twice', async () => {
  const groups = await steward.database('killed', 3);
  await slowDeletions(4_000);
  const removal = await steward.client.regionGroups.remove({ groups });
  await deletionsUnderWay(groups);
  await steward.worker.restart();
  expect(await removal.result()).toEqual({ outcome: 'REMOVED', groups: 3, replicas: 9 });
  expectOneDeletionEach(groups);
});

test('I5: a removal that an operator terminated and started again goes on with the claim and joins the deletions that run', async () => {
  const groups = await steward.database('terminated', 2);
  await slowDeletions(4_000);
  const first = await steward.client.regionGroups.remove({ groups });
  await deletionsUnderWay(groups);
  const { epoch } = await steward.client.regionGroups.get(groups[0]!);
  await steward.temporal.client.workflow.getHandle(first.operationId).terminate('by hand');

  const again = await steward.client.regionGroups.remove({ groups });
  await eventually('the claim to go on', async () => {
    const group = await steward.client.regionGroups.get(groups[0]!);
    return group.holder?.workflowId === again.operationId && group.holder.firstRunId === again.runId;
  });
  expect((await steward.client.regionGroups.get(groups[0]!)).epoch).toBe(epoch);
  expect(await again.result()).toMatchObject({ outcome: 'REMOVED', groups: 2 });
  expectOneDeletionEach(groups);
});

test('I2: a node that is killed in the middle of a deletion resumes it after its restart, as the same operation', async () => {
  const groups = await steward.database('node-killed', 2);
  await slowDeletions(60_000);
  const removal = await steward.client.regionGroups.remove({ groups });
  await deletionsUnderWay(groups);
  await steward.node('node-2').restart();
  await steward.clearFaults();
  expect(await removal.result()).toMatchObject({ outcome: 'REMOVED', groups: 2 });
  for (const node of NODES) expect(steward.regionsOnDisk(node)).toEqual([]);
  expectOneDeletionEach(groups);
});

async function slowDeletions(delayMs: number): Promise<void> {
  for (const node of NODES) {
    await steward.fault(node, {
      target: 'delete-region',
      kind: { case: 'delay', value: durationFromMs(delayMs) },
    });
  }
}

async function deletionsUnderWay(groups: readonly number[]): Promise<void> {
  await eventually('all deletions under way', async () => {
    const listed = await Promise.all(
      NODES.map(async (nodeId) => {
        const { ledgerId } = await steward.rpc(nodeId).node.getNodeInfo({});
        const { regions } = await steward.rpc(nodeId).inventory.listRegions({ node: { nodeId, ledgerId } });
        return regions.filter(({ region, state }) => groups.includes(Number(region?.groupId)) && state === 2);
      }),
    );
    return listed.flat().length === groups.length * NODES.length;
  });
}

function expectOneDeletionEach(groups: readonly number[]): void {
  for (const node of NODES) {
    const deleted = steward.effects(node, 'delete-region').map((id) => Number(id.split('/')[2]));
    for (const group of groups) expect(deleted.filter((id) => id === group)).toHaveLength(1);
  }
}
