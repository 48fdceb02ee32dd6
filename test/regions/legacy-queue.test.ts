import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { sql } from 'kysely';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { planDrain } from '../../src/rules/legacy-queue.js';
import { eventually } from '../support/eventually.js';
import { type Steward, startSteward } from '../support/steward.js';

let steward: Steward;
beforeAll(async () => {
  steward = await startSteward();
});
afterAll(() => steward.stop());

const PLANTED = 8_080;

test('a legacy queue is drained: every entry is accounted for, and draining it again does nothing new', async () => {
  const [whole, lacking] = await steward.database('legacy', 2);
  const directory = join(steward.nodeDirectory('node-1'), 'regions', steward.catalogId, String(PLANTED));
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'data'), 'of an older time');
  await loseReplica(lacking!, 'node-2');

  const task = (type: string, groupId: unknown, nodeId: string, id: number) => ({
    id,
    type,
    database: 'legacy',
    groupId,
    nodeId,
  });
  const entries = [
    task('DELETE', PLANTED, 'node-1', 1), // not listed, there
    task('DELETE', PLANTED, 'node-3', 2), // not listed, not there
    task('DELETE', whole, 'node-1', 3), // listed: it stays
    task('DELETE', PLANTED, 'node-9', 4), // a node that nobody knows
    task('CREATE', whole, 'node-1', 5), // lacks nothing
    task('CREATE', lacking, 'node-2', 6), // a recreation
    task('CREATE', 999_999, 'node-2', 7), // does not exist
    task('DELETE', PLANTED, 'node-1', 8), // again
    task('MIGRATE', whole, 'node-1', 9), // an unknown type
    task('DELETE', 'seven', 'node-1', 10), // malformed
    'not even an object',
  ];
  const first = await (await steward.client.sweeps.drainLegacyQueue(entries)).result();
  expect(first).toMatchObject({
    entries: 11,
    deleted: 1,
    gone: 1,
    recreated: 1,
    complete: 1,
    repeated: 1,
    warned: 6,
  });
  expectAllAccountedFor(first);
  expect(first.warnings).toEqual([
    expect.stringMatching(/^entry 9 \(id 9\)|^entry 9: type: expected one of CREATE, DELETE/),
    expect.stringMatching(/^entry 10: groupId: expected a whole number/),
    expect.stringMatching(/^entry 11: input: expected one object/),
    `DELETE of region ${whole} on node-1: the catalog lists it, it stays`,
    `DELETE of region ${PLANTED}: node node-9 is not known`,
    'CREATE of region 999999: it does not exist',
  ]);
  expect(steward.regionsOnDisk('node-1')).toEqual([whole, lacking]);
  await eventually('the recreation', async () => {
    const { replicas, holder } = await steward.client.regionGroups.get(lacking!);
    return holder === undefined && replicas.filter(({ state }) => state === 'RUNNING').length === 3;
  });

  const effects = () =>
    ['node-1', 'node-2', 'node-3'].flatMap((node) => [
      ...steward.effects(node, 'delete-region'),
      ...steward.effects(node, 'create-region'),
    ]);
  const before = effects();
  const second = await (await steward.client.sweeps.drainLegacyQueue(entries)).result();
  expect(second).toMatchObject({
    entries: 11,
    deleted: 0,
    gone: 2,
    recreated: 0,
    complete: 2,
    repeated: 1,
    warned: 6,
  });
  expectAllAccountedFor(second);
  expect(effects()).toEqual(before);
});

test('two drains, one right after the other: both bring back what they name, also while the first one is at it', async () => {
  const groups = await steward.database('twice', 2);
  await steward.fault('node-2', {
    target: 'create-region',
    kind: { case: 'delay', value: durationFromMs(4_000) },
  });
  const recreations: string[] = [];
  for (const groupId of groups) {
    await loseReplica(groupId, 'node-2');
    const entry = { id: groupId, type: 'CREATE', database: 'twice', groupId, nodeId: 'node-2' };
    const drained = await (await steward.client.sweeps.drainLegacyQueue([entry])).result();
    recreations.push(...drained.recreations);
    await steward.temporal.client.workflow.getHandle(drained.recreations[0]!).describe();
  }
  expect(new Set(recreations).size).toBe(2);
  await steward.clearFaults('node-2');
  for (const operationId of recreations) {
    await (await steward.client.operations.handle(operationId)).result();
  }
  for (const groupId of groups) {
    const { replicas, holder } = await steward.client.regionGroups.get(groupId);
    expect(holder).toBeUndefined();
    expect(replicas.filter(({ state }) => state === 'RUNNING')).toHaveLength(3);
  }
});

test('a catalog that is behind the node is the blocker of its deletions: nothing is deleted until it has caught up', async () => {
  await steward.database('ahead', 1);
  const region = join(steward.nodeDirectory('node-1'), 'regions', steward.catalogId, String(PLANTED + 1));
  mkdirSync(region, { recursive: true });
  writeFileSync(join(region, 'data'), 'of an older time');
  const { rows } = await sql<{ last: number }>`SELECT last_value AS last FROM claim_epoch`.execute(
    steward.catalog,
  );
  await sql`SELECT setval('claim_epoch', 1)`.execute(steward.catalog);
  const entry = { id: 1, type: 'DELETE', database: 'legacy', groupId: PLANTED + 1, nodeId: 'node-1' };
  const draining = await steward.client.sweeps.drainLegacyQueue([entry]);
  await eventually('it names its blocker', async () => {
    const { blockers } = await steward.client.operations.get(draining.operationId);
    return blockers.join().includes('CATALOG_BEHIND');
  });
  expect(existsSync(region)).toBe(true);
  await sql`SELECT setval('claim_epoch', ${rows[0]!.last})`.execute(steward.catalog);
  expect(await draining.result()).toMatchObject({ entries: 1, deleted: 1 });
  expect(existsSync(region)).toBe(false);
});

test('a plan puts every entry in exactly one place', () => {
  const plan = planDrain([
    { id: 'a', type: 'DELETE', database: 'd', groupId: 1, nodeId: 'n' },
    { id: 'b', type: 'DELETE', database: 'd', groupId: 1, nodeId: 'm' },
    { id: 'c', type: 'CREATE', database: 'd', groupId: 1, nodeId: 'n' },
    { id: 'd', type: 'CREATE', database: 'd', groupId: 1, nodeId: 'm' },
    { id: '', type: 'CREATE', database: 'd', groupId: 1, nodeId: 'm' },
    null,
  ]);
  expect(plan.deletions).toEqual([
    { nodeId: 'n', groupIds: [1] },
    { nodeId: 'm', groupIds: [1] },
  ]);
  expect(plan.creations).toEqual([1]);
  expect(plan.repeated).toBe(1);
  expect(plan.unreadable.map(({ at }) => at)).toEqual(['entry 5', 'entry 6']);
});

type Drained = Awaited<
  ReturnType<Awaited<ReturnType<Steward['client']['sweeps']['drainLegacyQueue']>>['result']>
>;

function expectAllAccountedFor({
  entries,
  deleted,
  gone,
  recreated,
  complete,
  repeated,
  warned,
}: Drained): void {
  expect(deleted + gone + recreated + complete + repeated + warned).toBe(entries);
}

/** The replica's node goes away, its replica is let go of, and the node returns without it. */
async function loseReplica(groupId: number, nodeId: string): Promise<void> {
  await steward.node(nodeId).kill();
  await eventually(`${nodeId} is not alive`, async () => {
    const nodes = await steward.client.nodes.list();
    return nodes.find((node) => node.nodeId === nodeId)?.alive === false;
  });
  await steward.client.regionGroups.forgetReplica({ groupId, nodeId });
  await steward.node(nodeId).restart();
  await steward.nodesAlive();
}
