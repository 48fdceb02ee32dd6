import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import {
  OperationState,
  Refusal_Code,
  RegionKind,
} from '../../src/rpc/gen/steward/worker/v1/operation_pb.js';
import { formatOperationId, regionPath } from '../../src/rules/operation-id.js';
import { eventually } from '../support/eventually.js';
import { type Steward, startSteward } from '../support/steward.js';

let steward: Steward;
beforeAll(async () => {
  steward = await startSteward();
  await steward.nodesAlive();
});
afterEach(() => steward.clearFaults());
afterAll(() => steward.stop());

test('I9: a create request that the network held until after the removal of its region group is refused', async () => {
  const [group] = await steward.database('late', 1);
  const { epoch } = await steward.client.regionGroups.get(group!);
  const { ledgerId } = await steward.rpc('node-1').node.getNodeInfo({});
  await (await steward.client.regionGroups.remove({ groups: [group!] })).result();

  const operationId = formatOperationId({
    verb: 'create-region',
    path: regionPath({ catalogId: steward.catalogId, groupId: group! }),
    nodeId: 'node-1',
    epoch,
    attempt: 1,
  });
  const region = { catalogId: steward.catalogId, groupId: BigInt(group!) };
  const value = { region, database: 'late', kind: RegionKind.DATA, peers: ['node-1', 'node-2', 'node-3'] };
  const { statuses } = await steward.rpc('node-1').operations.submit({
    node: { nodeId: 'node-1', ledgerId },
    operations: [{ operationId, epoch: BigInt(epoch), request: { case: 'createRegion', value } }],
  });
  expect(statuses[0]).toMatchObject({
    state: OperationState.REFUSED,
    refusal: { code: Refusal_Code.STALE_EPOCH },
  });
  expect(steward.regionsOnDisk('node-1')).not.toContain(group);
});

test('I5: a removal that takes over a creation in flight ends it as SUPERSEDED, which names the removal; nothing is left', async () => {
  await steward.client.databases.create({ name: 'taken' });
  await steward.fault('node-2', {
    target: 'create-region',
    times: 1,
    kind: { case: 'delay', value: durationFromMs(3_000) },
  });
  const creation = await steward.client.regionGroups.create({
    database: 'taken',
    kind: 'DATA',
    groups: 1,
    replicationFactor: 3,
  });
  const [group] = await eventually('two replicas, the third under way', async () => {
    const found = await steward.client.regionGroups.list({ database: 'taken' });
    return found[0]?.replicas.filter(({ state }) => state === 'RUNNING').length === 2 && found;
  });
  const removal = await steward.client.regionGroups.remove({ groups: [group!.groupId] });
  await expect(creation.result()).rejects.toMatchObject({
    code: 'SUPERSEDED',
    holder: { workflowId: removal.operationId },
  });
  expect(await removal.result()).toMatchObject({ outcome: 'REMOVED', groups: 1 });
  for (const node of ['node-1', 'node-2', 'node-3']) {
    expect(steward.regionsOnDisk(node)).not.toContain(group!.groupId);
  }
});

test('I5: a second removal is refused, and told who holds the region group', async () => {
  const groups = await steward.database('held', 2);
  await steward.fault('node-1', {
    target: 'delete-region',
    times: 2,
    kind: { case: 'delay', value: durationFromMs(2_000) },
  });
  const first = await steward.client.regionGroups.remove({ groups });
  await eventually('the claim', async () => (await first.describe()).pendingActivities.length > 0);
  const second = await steward.client.regionGroups.remove({ groups: [groups[0]!] });
  await expect(second.result()).rejects.toMatchObject({
    code: 'HELD',
    holder: { workflowId: first.operationId, workflowType: 'removeRegionGroups', actor: 'tester' },
  });
  expect(await first.result()).toMatchObject({ outcome: 'REMOVED', groups: 2 });
});

test('an epoch only grows: creation, removal and what comes after each have a higher one', async () => {
  const [first] = await steward.database('epochs-a', 1);
  const [second] = await steward.database('epochs-b', 1);
  const [a, b] = await Promise.all([
    steward.client.regionGroups.get(first!),
    steward.client.regionGroups.get(second!),
  ]);
  expect(b.epoch).toBeGreaterThan(a.epoch);
  await (await steward.client.regionGroups.remove({ groups: [second!] })).result();
  const { ledgerId } = await steward.rpc('node-1').node.getNodeInfo({});
  const { epochs } = await steward
    .rpc('node-1')
    .inventory.listEpochs({ node: { nodeId: 'node-1', ledgerId } });
  const last = epochs.find(({ resource }) => resource.endsWith(`/${second}`));
  expect(Number(last?.epoch)).toBeGreaterThan(b.epoch);
});
