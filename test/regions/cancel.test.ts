import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { Client as PgClient } from 'pg';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { eventually } from '../support/eventually.js';
import { type Steward, startSteward } from '../support/steward.js';

const NODES = ['node-1', 'node-2', 'node-3'];

let steward: Steward;
beforeAll(async () => {
  steward = await startSteward();
  await steward.nodesAlive();
});
afterEach(() => steward.clearFaults());
afterAll(() => steward.stop());

test('a creation that is cancelled removes the region groups that do not run yet', async () => {
  await steward.client.databases.create({ name: 'creation' });
  for (const node of NODES.slice(1)) await slow(node, 'create-region');
  const creation = await steward.client.regionGroups.create({
    database: 'creation',
    kind: 'DATA',
    groups: 2,
    replicationFactor: 3,
  });
  await eventually('one replica of each', async () => {
    const groups = await steward.client.regionGroups.list({ database: 'creation' });
    return (
      groups.length === 2 && groups.every(({ replicas }) => replicas.some(({ state }) => state === 'RUNNING'))
    );
  });
  await steward.client.operations.cancel(creation.operationId);
  await expect(creation.result()).rejects.toMatchObject({ code: 'CANCELED' });
  await steward.clearFaults();
  await eventually(
    'teardown',
    async () => (await steward.client.regionGroups.list({ database: 'creation' })).length === 0,
  );
  for (const node of NODES) expect(steward.regionsOnDisk(node)).toEqual([]);
});

test('a creation that is over cannot be cancelled', async () => {
  await steward.database('over', 1);
  const [created] = await steward.client.operations.list();
  await expect(steward.client.operations.cancel(created!.operationId)).rejects.toMatchObject({
    code: 'NOT_FOUND',
    message: `${created!.operationId} has ended: there is nothing to cancel`,
  });
  const [group] = await steward.client.regionGroups.list({ database: 'over' });
  expect(group?.state).toBe('RUNNING');
});

test('a recreation that is cancelled lets go of its claim; the replica stays reported as missing', async () => {
  await steward.client.databases.create({ name: 'recreation' });
  await steward.fault('node-3', {
    target: 'create-region',
    kind: { case: 'fail', value: { message: 'full' } },
  });
  const input = { database: 'recreation', kind: 'DATA' as const, groups: 1, replicationFactor: 3 };
  await (await steward.client.regionGroups.create(input)).result();
  const [group] = await steward.client.regionGroups.list({ database: 'recreation' });
  const { holder } = await eventually('the recreation', async () => {
    const found = await steward.client.regionGroups.get(group!.groupId);
    return found.holder?.workflowType === 'recreateMissingReplicas' && found;
  });
  await steward.client.operations.cancel(holder!.workflowId);
  const left = await eventually('released', async () => {
    const found = await steward.client.regionGroups.get(group!.groupId);
    return found.holder === undefined && found;
  });
  expect(left.state).toBe('RUNNING');
  const incomplete = await steward.client.regionGroups.list({ database: 'recreation', incomplete: true });
  expect(incomplete.map(({ groupId }) => groupId)).toEqual([group!.groupId]);
  const sweep = await (await steward.client.sweeps.run({ gracePeriodMs: 0 })).result();
  expect(sweep.lacking).toEqual([group!.groupId]);
});

test.each(['removal', 'deletion'] as const)(
  'a %s that has begun refuses to be cancelled and says why; a raw cancellation is noted and ignored',
  async (which) => {
    const groups = await steward.database(`begun-${which}`, 1);
    await slow('node-1', 'delete-region');
    const operation = await begin(which, groups, `begun-${which}`);
    await eventually(
      'node-1 is all that is left',
      async () => (await operation.describe()).pendingActivities.length === 1,
    );
    await expect(steward.client.operations.cancel(operation.operationId)).rejects.toMatchObject({
      code: 'REJECTED',
      message: /has begun: regions may be gone already/,
    });
    await steward.temporal.client.workflow.getHandle(operation.operationId).cancel();
    await eventually('the note in the details', async () => {
      const { currentDetails } = await steward.client.operations.get(operation.operationId);
      return currentDetails?.includes('is ignored');
    });
    await steward.clearFaults();
    expect(await operation.result()).toMatchObject({ outcome: which === 'removal' ? 'REMOVED' : 'DELETED' });
  },
);

test.each(['removal', 'deletion'] as const)(
  'a %s that is cancelled before it could claim anything changes nothing, and never will',
  async (which) => {
    const database = `before-${which}`;
    const groups = await steward.database(database, 1);
    const before = await steward.client.regionGroups.get(groups[0]!);
    const blocker = new PgClient({ connectionString: steward.databaseUrl });
    await blocker.connect();
    try {
      await blocker.query('BEGIN');
      await blocker.query('SELECT * FROM region_group WHERE group_id = $1 FOR UPDATE', [groups[0]]);
      await blocker.query('SELECT * FROM database WHERE name = $1 FOR UPDATE', [database]);
      const operation = await begin(which, groups, database);
      await eventually(
        'the claim waits for the row',
        async () => (await operation.describe()).pendingActivities.length > 0,
      );
      await steward.client.operations.cancel(operation.operationId).catch(async (error: unknown) => {
        const { failure, result, status } = await steward.client.operations.get(operation.operationId);
        throw new Error(`cancelled in vain: ${JSON.stringify({ status, failure, result })}`, {
          cause: error,
        });
      });
      await blocker.query('COMMIT');
      await expect(operation.result()).rejects.toMatchObject({ message: expect.stringMatching(/cancel/i) });
      expect(await steward.client.regionGroups.get(groups[0]!)).toEqual(before);
      expect((await steward.client.databases.get(database)).state).toBe('ACTIVE');
      // The operation can be asked for again.
      await (await begin(which, groups, database)).result();
    } finally {
      await blocker.end();
    }
  },
);

async function begin(which: 'removal' | 'deletion', groups: readonly number[], database: string) {
  return which === 'removal'
    ? steward.client.regionGroups.remove({ groups })
    : steward.client.databases.delete(database);
}

async function slow(nodeId: string, target: string): Promise<void> {
  await steward.fault(nodeId, { target, kind: { case: 'delay', value: durationFromMs(60_000) } });
}
