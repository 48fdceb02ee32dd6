import { readFileSync } from 'node:fs';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { lockWaits } from '../chaos/lock-waits.js';
import { eventually } from '../support/eventually.js';
import { type Steward, startSteward } from '../support/steward.js';

const NODES = ['node-1', 'node-2', 'node-3'];

let steward: Steward;
beforeAll(async () => {
  // The worker says when it is being shut down, and waits for a lock until it has it.
  steward = await startSteward({
    workerEnv: { STEWARD_LOG_LEVEL: 'debug', STEWARD_LOCK_TIMEOUT_MS: '60000' },
  });
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

test('a worker that is told to end lets the pass end that it is in the middle of, and hands over the rest', async () => {
  const groups = await steward.database('drained', 1);
  await slowDeletions(60_000);
  const removal = await steward.client.regionGroups.remove({ groups });
  await deletionsUnderWay(groups);
  const told = await steward.catalog.transaction().execute(async (transaction) => {
    await transaction
      .selectFrom('region_group')
      .select('group_id')
      .where('group_id', 'in', groups)
      .forUpdate()
      .execute();
    await steward.clearFaults('node-1');
    await eventually('its pass waits to record what is gone', async () =>
      (await lockWaits(steward)).some(({ program }) => program === 'steward-worker'),
    );
    await steward.worker.kill('SIGTERM');
    await eventually('it lets its work end', () =>
      readFileSync(steward.worker.logFile, 'utf8').includes('"state":"STOPPING"'),
    );
    return { exited: steward.worker.exited };
  });
  expect(await told.exited).toMatchObject({ code: 0 });
  // Nobody works now: what is recorded was so before it ended, and no attempt has to time out before it is made again.
  const { progress, pendingActivities } = await steward.client.operations.get(removal.operationId);
  expect(progress?.openByNode.map(({ nodeId }) => nodeId)).toEqual(['node-2', 'node-3']);
  expect(pendingActivities.map(({ state }) => state)).not.toContain('STARTED');
  await steward.clearFaults();
  await steward.worker.restart();
  expect(await removal.result()).toMatchObject({ outcome: 'REMOVED', groups: 1, replicas: 3 });
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
