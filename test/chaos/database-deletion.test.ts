import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { OperationHandle } from '../../src/client/operation-handle.js';
import { PARTITION_SLOTS } from '../../src/rules/bounds.js';
import { eventually } from '../support/eventually.js';
import { type Steward, startSteward } from '../support/steward.js';
import { disagreements, isAnythingOnDisk, ranTwice, unfinishedOnDisk } from './agreement.js';
import { deletedRegions, deletionsUnderWay, slow } from './slow-regions.js';

const NODES = ['node-1', 'node-2', 'node-3'];
const RPC_DEADLINE_MS = 4_000;

let steward: Steward;
beforeAll(async () => {
  steward = await startSteward({ workerEnv: { STEWARD_RPC_DEADLINE_MS: String(RPC_DEADLINE_MS) } });
  await steward.nodesAlive();
});
afterEach(async () => {
  await steward.clearFaults();
  // Whatever the order was: catalog and disks agree at its end, and no operation ran twice.
  expect(await disagreements(steward)).toEqual([]);
  for (const node of NODES) expect(ranTwice(steward, node, 'delete-region')).toEqual([]);
});
afterAll(() => steward.stop());

test('a database is deleted while its region groups are being created: the creation is told who took over, what it still makes goes as well', async () => {
  await steward.client.databases.create({ name: 'creating' });
  await slow(steward, ['node-2', 'node-3'], 'create-region');
  const creation = await create('creating', 4);
  await eventually('one replica of each, the others half made', () => {
    const halfMade = ['node-2', 'node-3'].every((node) => unfinishedOnDisk(steward, node).length === 4);
    return halfMade && steward.regionsOnDisk('node-1').length === 4;
  });

  const deletion = await steward.client.databases.delete('creating');
  await expectSuperseded(creation, deletion);
  expect((await deletion.describe()).status).toBe('RUNNING');
  await steward.clearFaults();
  expect(await deletion.result()).toEqual({ outcome: 'DELETED', groups: 4, replicas: 12 });
  await expectGone('creating');
  // The creations were past recall: they made their regions, and the deletions came after them (I9).
  expect(steward.effects('node-3', 'create-region')).toHaveLength(4);
  expect(deletedRegions(steward, 'node-3')).toHaveLength(4);
});

test('a database is deleted while one of its region groups is being removed: the removal is told who took over', async () => {
  const groups = await steward.database('removing', 2);
  await slow(steward, ['node-1', 'node-3'], 'delete-region');
  const removal = await steward.client.regionGroups.remove({ groups: [groups[0]!] });
  await deletionsUnderWay(steward, ['node-1', 'node-3'], [groups[0]!]);

  const deletion = await steward.client.databases.delete('removing');
  await expectSuperseded(removal, deletion);
  await deletionsUnderWay(steward, ['node-1', 'node-3'], groups);
  await steward.clearFaults();
  expect(await deletion.result()).toMatchObject({ outcome: 'DELETED', groups: 2 });
  await expectGone('removing');
});

test('I5: a SUCCESS that reaches a superseded removal moves nothing: the row stays until the deletion has an answer of its own', async () => {
  const [group] = await steward.database('late-answer', 1);
  await steward.fault('node-1', {
    target: 'Submit',
    times: 1,
    kind: { case: 'delay', value: durationFromMs(RPC_DEADLINE_MS / 2) },
  });
  const removal = await steward.client.regionGroups.remove({ groups: [group!] });
  await eventually('the removal has asked', async () => {
    const { faults } = await steward.rpc('node-1').faults.listFaults({});
    return faults.length === 0;
  });
  // What the deletion asks does not reach the node.
  await steward.fault('node-1', { target: 'Submit', kind: { case: 'dropRequest', value: true } });
  const deletion = await steward.client.databases.delete('late-answer');
  await eventually('the claim', async () => (await deletion.describe()).pendingActivities.length > 0);
  expect(deletedRegions(steward, 'node-1')).not.toContain(group);

  await expectSuperseded(removal, deletion);
  expect(deletedRegions(steward, 'node-1')).toContain(group);
  const { replicas } = await steward.client.regionGroups.get(group!);
  expect(replicas).toContainEqual(expect.objectContaining({ nodeId: 'node-1', state: 'REMOVING' }));
  await steward.clearFaults();
  expect(await deletion.result()).toMatchObject({ outcome: 'DELETED' });
  await expectGone('late-answer');
});

test('a database is deleted while a replica is being recreated: the recreation is told who took over', async () => {
  await steward.client.databases.create({ name: 'recreating' });
  await steward.fault('node-3', {
    target: 'create-region',
    times: 1,
    kind: { case: 'fail', value: { message: 'full' } },
  });
  await slow(steward, ['node-3'], 'create-region');
  expect(await (await create('recreating', 1)).result()).toMatchObject({ incomplete: 1 });
  const holder = await eventually('the recreation, its region half made', async () => {
    const [group] = await steward.client.regionGroups.list({ database: 'recreating' });
    return unfinishedOnDisk(steward, 'node-3').length === 1 && group?.holder;
  });
  expect(holder.workflowType).toBe('recreateMissingReplicas');
  const recreation = await steward.client.operations.handle(holder.workflowId);

  const deletion = await steward.client.databases.delete('recreating');
  await expectSuperseded(recreation, deletion);
  await steward.clearFaults();
  expect(await deletion.result()).toEqual({ outcome: 'DELETED', groups: 1, replicas: 3 });
  await expectGone('recreating');
});

test('of two deletions at once one runs; the other is refused and told of it, under its own workflow id as well', async () => {
  await steward.database('twice', 2);
  await slow(steward, NODES, 'delete-region');
  const asked = await Promise.allSettled([
    steward.client.databases.delete('twice'),
    steward.client.databases.delete('twice'),
  ]);
  const [first, ...more] = asked.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  const refused = asked.flatMap((one) => (one.status === 'rejected' ? [one.reason] : []));
  expect(more).toEqual([]);
  const holder = {
    workflowId: first!.operationId,
    firstRunId: first!.runId,
    workflowType: 'deleteDatabase',
    actor: 'tester',
  };
  expect(refused).toMatchObject([{ code: 'HELD', holder }]);

  await eventually('the claim', async () => (await first!.describe()).pendingActivities.length > 0);
  const byHand = await steward.temporal.client.workflow.start('deleteDatabase', {
    workflowId: 'by-hand',
    taskQueue: 'steward',
    args: [{ database: 'twice', actor: 'somebody' }],
  });
  await expect(byHand.result()).rejects.toMatchObject({
    cause: {
      type: 'Held',
      message: expect.stringContaining('database twice is held by deleteDatabase database/twice/delete'),
      details: [expect.objectContaining(holder)],
    },
  });
  await steward.clearFaults();
  expect(await first!.result()).toEqual({ outcome: 'DELETED', groups: 2, replicas: 6 });
  await expectGone('twice');
});

test('from the acceptance of the deletion on nothing can be created under the name; when it is gone the name is free, with new region group ids', async () => {
  const old = await steward.database('again', 2);
  await slow(steward, ['node-2'], 'delete-region');
  const deletion = await steward.client.databases.delete('again');
  await deletionsUnderWay(steward, ['node-2'], old);

  await expect((await create('again', 1)).result()).rejects.toMatchObject({
    code: 'HELD',
    holder: { workflowId: deletion.operationId, firstRunId: deletion.runId, workflowType: 'deleteDatabase' },
  });
  await expect(steward.client.databases.create({ name: 'again' })).rejects.toMatchObject({
    code: 'REJECTED',
    message: /again is being deleted/,
  });
  await steward.clearFaults();
  expect(await deletion.result()).toMatchObject({ outcome: 'DELETED', groups: 2 });
  await expectGone('again');

  const fresh = await steward.database('again', 2);
  expect(fresh.filter((id) => old.includes(id))).toEqual([]);
  for (const node of NODES) expect(steward.regionsOnDisk(node)).toEqual(fresh);
  expect(await (await steward.client.databases.delete('again')).result()).toMatchObject({ groups: 2 });
});

test('a deletion that was terminated and asked for again goes on with the same epoch and joins the deletions that run', async () => {
  const groups = await steward.database('terminated', 2);
  await slow(steward, ['node-2', 'node-3'], 'delete-region');
  const first = await steward.client.databases.delete('terminated');
  await deletionsUnderWay(steward, ['node-2', 'node-3'], groups);
  await eventually('node-1 done', async () => (await first.describe()).pendingActivities.length === 2);
  const before = await epochs('terminated');
  await steward.temporal.client.workflow.getHandle(first.operationId).terminate('by hand');
  await expect(first.result()).rejects.toMatchObject({ code: 'CANCELED' });

  const again = await steward.client.databases.delete('terminated');
  await eventually('the claim to go on', async () => {
    const { holder } = await steward.client.databases.get('terminated');
    return holder?.firstRunId === again.runId;
  });
  expect(await epochs('terminated')).toEqual(before);
  await steward.clearFaults();
  expect(await again.result()).toEqual({ outcome: 'DELETED', groups: 2, replicas: 4 });
  await expectGone('terminated');
  for (const node of NODES) {
    const deleted = deletedRegions(steward, node).filter((id) => groups.includes(id));
    expect(deleted.sort((a, b) => a - b)).toEqual(groups);
  }
});

test('I4: the partition table goes only after the last region is gone from the disks', async () => {
  await steward.database('partitioned', 3);
  expect(await partitions('partitioned')).toBe(PARTITION_SLOTS);
  for (const [index, node] of NODES.entries()) {
    await slow(steward, [node], 'delete-region', 400 * (index + 1) ** 2);
  }
  const deletion = await steward.client.databases.delete('partitioned');
  const seen = { whole: 0, someNodesDone: 0 };
  const tooEarly: string[] = [];
  await eventually('the partition table goes', async () => {
    const slots = await partitions('partitioned');
    // Read after the slots: what is on a disk now was there when they were counted.
    const withRegions = NODES.filter((node) => isAnythingOnDisk(steward, node));
    if (slots < PARTITION_SLOTS && withRegions.length > 0) {
      tooEarly.push(`${slots} slots while ${withRegions.join(', ')} still have regions`);
    }
    seen.whole += Number(withRegions.length === NODES.length);
    seen.someNodesDone += Number(withRegions.length > 0 && withRegions.length < NODES.length);
    return slots === 0;
  });
  expect(tooEarly).toEqual([]);
  expect(seen.whole).toBeGreaterThan(2);
  expect(seen.someNodesDone).toBeGreaterThan(10);
  expect(await deletion.result()).toEqual({ outcome: 'DELETED', groups: 3, replicas: 9 });
  await expectGone('partitioned');
});

function create(database: string, groups: number) {
  return steward.client.regionGroups.create({ database, kind: 'DATA', groups, replicationFactor: 3 });
}

async function expectSuperseded(operation: OperationHandle<unknown>, by: OperationHandle<unknown>) {
  await expect(operation.result()).rejects.toMatchObject({
    code: 'SUPERSEDED',
    holder: { workflowId: by.operationId, firstRunId: by.runId, workflowType: 'deleteDatabase' },
  });
}

/** Nothing of the database is left: neither in the catalog, nor on any disk. */
async function expectGone(database: string) {
  await expect(steward.client.databases.get(database)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await expect(steward.client.regionGroups.list({ database })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  expect(await partitions(database)).toBe(0);
  expect(NODES.filter((node) => isAnythingOnDisk(steward, node))).toEqual([]);
}

async function partitions(database: string): Promise<number> {
  const rows = await steward.catalog
    .selectFrom('partition')
    .select('slot')
    .where('database', '=', database)
    .execute();
  return rows.length;
}

/** The epochs of the database and of its region groups. */
async function epochs(database: string): Promise<number[]> {
  const { catalog } = steward;
  const own = await catalog.selectFrom('database').select('epoch').where('name', '=', database).execute();
  const groups = await catalog
    .selectFrom('region_group')
    .select('epoch')
    .where('database', '=', database)
    .orderBy('group_id')
    .execute();
  return [...own, ...groups].map(({ epoch }) => epoch);
}
