import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { CatalogService } from '../../src/rpc/gen/steward/coordinator/v1/catalog_pb.js';
import { eventually } from '../support/eventually.js';
import { temporaryDirectory } from '../support/guard.js';
import { type Steward, startSteward } from '../support/steward.js';

const NODES = ['node-1', 'node-2', 'node-3'];

let disks: ReturnType<typeof temporaryDirectory>;
const cleanUps: (() => Promise<unknown>)[] = [];
beforeEach(() => {
  disks = temporaryDirectory('disks');
  cleanUps.push(() => disks.remove());
});
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

test('a new catalog with nodes that kept their ledgers believes nothing that an older catalog was answered', async () => {
  const old = await stewardOnDisks();
  const oldGroups = await old.database('sales', 2);
  expect(oldGroups).toEqual([1, 2]);
  const oldCatalogId = old.catalogId;
  await old.stop();

  const fresh = await stewardOnDisks();
  // The same names, ids and epochs come again; the operations are others all the same.
  const groups = await fresh.database('sales', 2);
  expect(groups).toEqual(oldGroups);
  for (const node of NODES) {
    expect(fresh.regionsOnDisk(node)).toEqual(groups);
    expect(existsSync(join(disks.path, node, 'regions', oldCatalogId, '1'))).toBe(true);
    expect(fresh.effects(node, 'create-region').filter((id) => id.includes(fresh.catalogId))).toHaveLength(2);
  }
  await (await fresh.client.regionGroups.remove({ groups })).result();
  for (const node of NODES) {
    expect(fresh.regionsOnDisk(node)).toEqual([]);
    expect(existsSync(join(disks.path, node, 'regions', oldCatalogId, '1'))).toBe(true);
  }
});

test('a node that comes back with an empty disk is refused, and believed in nothing, until its replicas are forgotten', async () => {
  const steward = await stewardOnDisks();
  const groups = await steward.database('sales', 2);
  await steward.node('node-3').restart({ args: [`--data=${disks.path}/empty`] });

  await eventually('node-3 is not alive', async () => {
    const node = (await steward.client.nodes.list()).find(({ nodeId }) => nodeId === 'node-3');
    return node?.alive === false;
  });
  const removal = await steward.client.regionGroups.remove({ groups: [groups[0]!] });
  const blocked = await eventually('the blocker', async () => {
    const found = await removal.describe();
    return found.blockers.length > 0 && found.pendingActivities.length === 1 && found;
  });
  expect(blocked.blockers.join()).toMatch(/node-3 is not the node that the catalog knows/);
  expect((await steward.client.regionGroups.get(groups[0]!)).replicas.map(({ nodeId }) => nodeId)).toEqual([
    'node-3',
  ]);

  const { forgetReplica } = createClient(
    CatalogService,
    createConnectTransport({ baseUrl: steward.coordinatorUrl, httpVersion: '2' }),
  );
  await expect(
    forgetReplica({ groupId: BigInt(groups[1]!), nodeId: 'node-1', actor: 'tester' }),
  ).rejects.toThrow(/node-1 lives/);
  for (const group of groups) {
    await forgetReplica({ groupId: BigInt(group), nodeId: 'node-3', actor: 'tester' });
  }
  expect(await removal.result()).toMatchObject({ outcome: 'REMOVED' });
  await steward.nodesAlive(['node-3']);
  const records = await steward.catalog
    .selectFrom('forgotten_replica')
    .select(['group_id', 'actor'])
    .execute();
  expect(records.map(({ group_id, actor }) => ({ group_id, actor }))).toEqual(
    groups.map((group_id) => ({ group_id, actor: 'tester' })),
  );
});

test('an operation whose claim the catalog has lost, as after a restore, ends nowhere but names that as its blocker', async () => {
  const steward = await stewardOnDisks();
  const [group] = await steward.database('restored', 1);
  await steward.fault('node-1', {
    target: 'delete-region',
    kind: { case: 'delay', value: durationFromMs(60_000) },
  });
  const removal = await steward.client.regionGroups.remove({ groups: [group!] });
  await eventually('node-1 is all that is left', async () => {
    const { progress, pendingActivities } = await removal.describe();
    return progress?.open === 1 && pendingActivities.length === 1;
  });
  await steward.catalog.transaction().execute(async (transaction) => {
    await transaction.updateTable('region_group').set({ holder_id: null, state: 'RUNNING' }).execute();
    await transaction.deleteFrom('holder').where('workflow_id', '=', removal.operationId).execute();
  });

  const { blockers, status } = await eventually('the blocker', async () => {
    const found = await removal.describe();
    return found.blockers.some((one) => one.includes('CATALOG_BEHIND')) && found;
  });
  expect(status).toBe('RUNNING');
  expect(blockers.join()).toContain('restored to an older point');

  await steward.temporal.client.workflow.getHandle(removal.operationId).terminate('as the blocker says');
  await steward.clearFaults();
  const again = await steward.client.regionGroups.remove({ groups: [group!] });
  expect(await again.result()).toMatchObject({ outcome: 'REMOVED', groups: 1 });
  for (const node of NODES) expect(steward.regionsOnDisk(node)).toEqual([]);
});

async function stewardOnDisks(): Promise<Steward> {
  const steward = await startSteward({ nodes: 0 });
  let stopped = false;
  const stop = steward.stop.bind(steward);
  steward.stop = async () => {
    if (!stopped) await stop();
    stopped = true;
  };
  cleanUps.push(() => steward.stop());
  for (const node of NODES) await steward.addNode(node, { directory: `${disks.path}/${node}` });
  await steward.nodesAlive(NODES);
  return steward;
}
