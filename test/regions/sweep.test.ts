import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { MockActivityEnvironment } from '@temporalio/testing';
import { sql } from 'kysely';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { createSweepActivities, type NodeSurvey } from '../../activities/regions/sweep.js';
import { NodeClients } from '../../src/engines/reference/node-clients.js';
import { ReferenceOptimizerEngine } from '../../src/engines/reference/optimizers.js';
import { ReferenceRegionEngine } from '../../src/engines/reference/regions.js';
import { createLogger } from '../../src/log.js';
import { readTransport } from '../../src/model/transport.js';
import { Credentials } from '../../src/rpc/credentials.js';
import { confirmed, findDifferences } from '../../src/rules/sweep.js';
import { eventually } from '../support/eventually.js';
import { type Steward, startSteward } from '../support/steward.js';

const NODES = ['node-1', 'node-2', 'node-3'];
const PLANTED = 4_711;

let steward: Steward;
beforeAll(async () => {
  steward = await startSteward();
  await steward.nodesAlive();
});
afterEach(() => steward.clearFaults());
afterAll(() => steward.stop());

test('I4: a region planted by hand is reported in observe, left alone there, and removed in repair', async () => {
  plant('node-2', PLANTED);
  const observed = await sweep('observe', 0);
  expect(survey(observed, 'node-2')).toMatchObject({ leaked: [PLANTED], leakedTotal: 1, missingTotal: 0 });
  expect(survey(observed, 'node-1')).toMatchObject({ leakedTotal: 0 });
  expect(steward.regionsOnDisk('node-2')).toContain(PLANTED);
  expect(steward.effects('node-2', 'delete-region')).toEqual([]);

  const repaired = await sweep('repair', 0);
  expect(repaired.removed).toBe(1);
  expect(steward.regionsOnDisk('node-2')).not.toContain(PLANTED);
  expect(survey(await sweep('observe', 0), 'node-2')).toMatchObject({ leakedTotal: 0 });
});

test('a replica whose directory was deleted by hand is reported in observe, and recreated in repair', async () => {
  const [group] = await steward.database('lost', 1);
  unplant('node-3', group!);
  const observed = await sweep('observe', 0);
  expect(survey(observed, 'node-3')).toMatchObject({ missing: [group], leakedTotal: 0 });
  expect(observed.recreations).toEqual([]);
  expect(steward.regionsOnDisk('node-3')).not.toContain(group);
  expect((await steward.client.regionGroups.get(group!)).replicas.map(({ state }) => state)).toEqual(
    NODES.map(() => 'RUNNING'),
  );

  const repaired = await sweep('repair', 0);
  expect(repaired.recreations).toHaveLength(1);
  await eventually('the replica is back', async () => {
    const { replicas, holder } = await steward.client.regionGroups.get(group!);
    return holder === undefined && replicas.every(({ state }) => state === 'RUNNING');
  });
  expect(steward.regionsOnDisk('node-3')).toContain(group);
});

test('what differs for a shorter time than the grace is not reported, and is remembered since when it was first seen', async () => {
  plant('node-1', PLANTED + 1);
  expect(survey(await sweep('repair', 600_000), 'node-1')).toMatchObject({ leakedTotal: 0 });
  expect(steward.regionsOnDisk('node-1')).toContain(PLANTED + 1);
  const first = await firstSeen(PLANTED + 1);
  await sweep('observe', 600_000);
  expect(await firstSeen(PLANTED + 1)).toEqual(first);
  await sweep('repair', 0);
  expect(steward.regionsOnDisk('node-1')).not.toContain(PLANTED + 1);
});

test('what only one of the two looks finds is not reported, however short the grace is', async () => {
  const clients = new NodeClients(2_000, new Credentials(readTransport({})));
  const { catalog, catalogId } = steward;
  const engine = new ReferenceRegionEngine(clients);
  let looks = 0;
  const listRegions: typeof engine.listRegions = async function* (...of) {
    looks += 1;
    if (looks === 2) {
      unplant('node-2', PLANTED + 3);
      plant('node-2', PLANTED + 4);
    }
    yield* engine.listRegions(...of);
  };
  const activities = createSweepActivities({
    catalog,
    catalogId,
    engine: Object.assign(new ReferenceRegionEngine(clients), { listRegions }),
    optimizers: new ReferenceOptimizerEngine(clients),
    isOpen: () => Promise.resolve(true),
    settings: { nodeTimeoutMs: 60_000 },
    log: createLogger('test'),
  });
  plant('node-2', PLANTED + 3);
  try {
    const surveyed = () => activities.surveyNode('node-2', 0);
    const found = await new MockActivityEnvironment().run<[], NodeSurvey, typeof surveyed>(surveyed);
    expect(looks).toBe(2);
    expect(found).toMatchObject({ leakedTotal: 0, missingTotal: 0 });
    expect(found.unreachable).toBeUndefined();
  } finally {
    unplant('node-2', PLANTED + 4);
    clients.close();
  }
});

test('a creation in flight is never a leak, and a removal in flight is never missing', async () => {
  await steward.client.databases.create({ name: 'in-flight' });
  await steward.fault('node-2', {
    target: 'create-region',
    kind: { case: 'delay', value: durationFromMs(60_000) },
  });
  const creation = await steward.client.regionGroups.create({
    database: 'in-flight',
    kind: 'DATA',
    groups: 2,
    replicationFactor: 3,
  });
  await eventually('two of three replicas', () => steward.regionsOnDisk('node-1').length >= 2);
  const during = await sweep('repair', 0);
  for (const node of NODES) expect(survey(during, node)).toMatchObject({ leakedTotal: 0, missingTotal: 0 });
  expect(during).toMatchObject({ removed: 0, recreations: [], drivenOn: [], lacking: [] });
  await steward.clearFaults();
  expect(await creation.result()).toMatchObject({ outcome: 'RUNNING', complete: 2 });
});

test('a node that does not answer is reported as such, and the others are swept', async () => {
  await steward.node('node-3').kill();
  const observed = await sweep('observe', 0);
  expect(survey(observed, 'node-3')?.unreachable).toMatch(/node-3 does not answer/);
  expect(survey(observed, 'node-1')?.unreachable).toBeUndefined();
  await steward.node('node-3').restart();
  await steward.nodesAlive();
});

test('a catalog that is behind its nodes, as after a restore, repairs nothing and says so', async () => {
  await steward.database('ahead', 1);
  plant('node-1', PLANTED + 2);
  const { rows } = await sql<{ last: number }>`SELECT last_value AS last FROM claim_epoch`.execute(
    steward.catalog,
  );
  await sql`SELECT setval('claim_epoch', 1)`.execute(steward.catalog);
  try {
    const repaired = await sweep('repair', 0);
    expect(survey(repaired, 'node-1')?.unreachable).toMatch(/CATALOG_BEHIND: node-1 knows epoch \d+/);
    expect(repaired).toMatchObject({ removed: 0, recreations: [] });
    expect(steward.regionsOnDisk('node-1')).toContain(PLANTED + 2);
  } finally {
    await sql`SELECT setval('claim_epoch', ${rows[0]!.last})`.execute(steward.catalog);
  }
  expect((await sweep('repair', 0)).removed).toBe(1);
});

test('I5: a claim with a live workflow is left alone; each claim whose workflow was terminated is driven on to its end', async () => {
  // A removal, its deletions slow.
  const [removed] = await steward.database('driven-removal', 1);
  // A database deletion.
  await steward.database('driven-deletion', 1);
  // A creation, and a recreation of what one node does not create.
  await steward.client.databases.create({ name: 'driven-creation' });
  const [lacking] = await lackingOneReplica('driven-recreation');
  for (const node of NODES) {
    for (const target of ['delete-region', 'create-region']) {
      await steward.fault(node, { target, kind: { case: 'delay', value: durationFromMs(60_000) } });
    }
  }
  const creation = await steward.client.regionGroups.create({
    database: 'driven-creation',
    kind: 'DATA',
    groups: 1,
    replicationFactor: 3,
  });
  const operations = [
    creation,
    await steward.client.regionGroups.recreateMissing({ database: 'driven-recreation', groups: [lacking!] }),
    await steward.client.regionGroups.remove({ groups: [removed!] }),
    await steward.client.databases.delete('driven-deletion'),
  ];
  for (const operation of operations) {
    await eventually(`${operation.operationId} has claimed`, async () => {
      const { progress, pendingActivities } = await operation.describe();
      return (progress?.total ?? 0) > 0 && pendingActivities.length > 0;
    });
  }
  expect((await sweep('observe', 600_000)).drivenOn).toEqual([]);
  for (const { operationId } of operations) {
    await steward.temporal.client.workflow.getHandle(operationId).terminate('by hand');
  }
  const { drivenOn } = await sweep('observe', 600_000);
  expect([...drivenOn].sort()).toEqual(operations.map(({ operationId }) => operationId).sort());

  await steward.clearFaults();
  for (const { operationId } of operations) {
    expect(await steward.temporal.client.workflow.getHandle(operationId).result()).toMatchObject({
      outcome: expect.stringMatching(/RUNNING|COMPLETE|REMOVED|DELETED/),
    });
  }
  expect((await steward.client.databases.get('driven-creation')).runningReplicas).toBe(3);
  expect((await steward.client.regionGroups.get(lacking!)).replicas.map(({ state }) => state)).toEqual(
    NODES.map(() => 'RUNNING'),
  );
  await expect(steward.client.databases.get('driven-deletion')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  const known = (await steward.client.regionGroups.list()).map(({ groupId }) => groupId);
  for (const node of NODES) {
    expect(steward.regionsOnDisk(node)).toEqual(known);
    const deleted = steward.effects(node, 'delete-region');
    expect(deleted.filter((id) => id.split('/')[2] === String(removed))).toHaveLength(1);
  }
}, 60_000);

test('differences are what two looks have in common, without what is claimed or being deleted', () => {
  const regions = [1, 2, 3, 4].map((groupId) => ({ groupId, deleting: groupId === 4 }));
  const replicas = [
    { groupId: 1, state: 'RUNNING' },
    { groupId: 5, state: 'RUNNING' },
    { groupId: 6, state: 'CREATING' },
    { groupId: 7, state: 'RUNNING' },
  ];
  const first = findDifferences(regions, replicas, new Set([3, 7]));
  expect(first).toEqual({ leaked: [2], missing: [5] });
  expect(confirmed(first, { leaked: [2, 9], missing: [] })).toEqual({ leaked: [2], missing: [] });
});

function plant(nodeId: string, groupId: number): void {
  const directory = directoryOf(nodeId, groupId);
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'planted'), 'by hand');
}

function unplant(nodeId: string, groupId: number): void {
  rmSync(directoryOf(nodeId, groupId), { recursive: true });
}

function directoryOf(nodeId: string, groupId: number): string {
  return join(steward.nodeDirectory(nodeId), 'regions', steward.catalogId, String(groupId));
}

async function sweep(mode: 'observe' | 'repair', gracePeriodMs: number) {
  return (await steward.client.sweeps.run({ mode, gracePeriodMs })).result();
}

function survey(result: Awaited<ReturnType<typeof sweep>>, nodeId: string) {
  return result.nodes.find((node) => node.nodeId === nodeId);
}

async function firstSeen(groupId: number): Promise<Date> {
  const { first_seen } = await steward.catalog
    .selectFrom('sighting')
    .select('first_seen')
    .where('group_id', '=', groupId)
    .executeTakeFirstOrThrow();
  return first_seen;
}

/** A running region group whose replica on node-3 failed, and whose recreation was cancelled. */
async function lackingOneReplica(database: string): Promise<number[]> {
  await steward.client.databases.create({ name: database });
  await steward.fault('node-3', {
    target: 'create-region',
    kind: { case: 'fail', value: { message: 'full' } },
  });
  const creation = await steward.client.regionGroups.create({
    database,
    kind: 'DATA',
    groups: 1,
    replicationFactor: 3,
  });
  await creation.result();
  const [group] = await steward.client.regionGroups.list({ database });
  const { holder } = await eventually('the recreation holds it', async () => {
    const found = await steward.client.regionGroups.get(group!.groupId);
    return found.holder?.workflowType === 'recreateMissingReplicas' && found;
  });
  await steward.client.operations.cancel(holder!.workflowId);
  await eventually(
    'released',
    async () => (await steward.client.regionGroups.get(group!.groupId)).holder === undefined,
  );
  await steward.clearFaults('node-3');
  return [group!.groupId];
}
