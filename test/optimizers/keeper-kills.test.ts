import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { takeGroup } from '../../src/catalog/optimizers/keeping.js';
import { allocateResource } from '../../src/catalog/optimizers/resources.js';
import type { KeeperView } from '../../workflows/optimizers/keeper.js';
import { eventually } from '../support/eventually.js';
import { type KeeperSteward, startKeeperSteward } from './keeper-steward.js';

/** Worker and coordinator die at every point of a cycle: no attempt is lost or doubled, nothing is started twice. */
let steward: KeeperSteward;

vi.setConfig({ testTimeout: 150_000 });
beforeAll(async () => {
  steward = await startKeeperSteward();
});
afterAll(() => steward?.stop());

const ROW = (resourceId: string) =>
  `SELECT 1 FROM optimizer_resource WHERE resource_id = '${resourceId}' FOR UPDATE`;

test.each([
  ['before the launch is in the catalog', 'launch'],
  ['while the node starts the process', 'container'],
  ['when the process runs and the catalog does not know it yet', 'record'],
  ['when the catalog knows it and the history does not', 'report'],
] as const)('a worker killed %s', async (_what, point) => {
  const settings = { minParallelism: 2, gracePeriodMs: 10_000, heartbeatTimeoutMs: 1_000, maxRetries: 3 };
  const group = await steward.group(`kill-${point}`, settings);
  const [first] = await steward.live(group, 1);
  const { resourceId } = first!;
  const nodeId = first!.nodeId!;
  if (point === 'container' || point === 'record') {
    await steward.fault(nodeId, {
      target: 'request-resource',
      times: 1,
      kind: { case: 'delay', value: { seconds: 2n, nanos: 0 } },
    });
  }
  await steward.killProcess(first!);
  await eventually('it is an orphan', async () => (await steward.show(group)).orphans[0]?.firstSeenAt);
  if (point === 'launch') {
    const row = await steward.hold(ROW(resourceId));
    await steward.waitingForLock('steward-worker');
    await steward.worker.kill();
    await row.release();
  } else {
    await eventually('launch 2 is in the catalog', async () => (await launch(resourceId)) === 2, 40_000);
    if (point === 'record') {
      const row = await steward.hold(ROW(resourceId));
      await steward.waitingForLock('steward-worker');
      await steward.worker.kill();
      await row.release();
    } else {
      if (point === 'report') {
        await eventually(
          'it is STARTED again',
          async () => (await resource(group, resourceId))?.state === 'STARTED',
        );
      }
      await steward.worker.kill();
    }
  }
  await steward.worker.restart();
  await steward.live(group, 1);
  // It may register before its container's answer is on record.
  const again = await eventually('it is STARTED', async () => {
    const found = await resource(group, resourceId);
    return found?.state === 'STARTED' && found;
  });
  expect(again).toMatchObject({ resourceId, launch: 2, registeredLaunch: 2 });
  const known = await eventually('the keeper knows the launch', async () => {
    const { orphans } = (await view(group)).state;
    return orphans[resourceId]?.launch !== 1 && { orphan: orphans[resourceId] };
  });
  // On a slow machine it has lived for a grace by now: that is no orphan any more.
  if (known.orphan !== undefined) expect(known.orphan).toMatchObject({ attempts: 1, launch: 2 });
  expect(steward.spawned(resourceId)).toEqual([1, 2]);
  expect(await steward.resources(group)).toHaveLength(1);
  await steward.client.optimizerGroups.pause(group);
});

test('a worker killed while it requests: so many resources as asked for, each started once', async () => {
  const group = await steward.group('kill-request', { minParallelism: 0 });
  const row = await steward.hold(`SELECT 1 FROM optimizer_group WHERE name = '${group}' FOR UPDATE`);
  const scaling = steward.temporal.client.workflow
    .getHandle(`optimizer-group/${group}`)
    .executeUpdate('scale', { args: [{ minParallelism: 4 }] })
    .catch(() => undefined);
  await steward.waitingForLock('steward-worker');
  await row.release();
  await scaling;
  await eventually('one is there', async () => (await steward.resources(group)).length >= 1);
  await steward.worker.kill();
  await steward.worker.restart();
  const live = await steward.live(group, 2);
  expect(await steward.resources(group)).toHaveLength(2);
  for (const { resourceId } of live) expect(steward.spawned(resourceId)).toEqual([1]);
  await steward.client.optimizerGroups.pause(group);
});

test('a worker killed while a clean-up is under way: it is finished, once', async () => {
  const settings = { minParallelism: 2, maxRetries: 0, maxKeepingAttempts: 1, gracePeriodMs: 500 };
  const group = await steward.group('kill-cleanup', settings, 'hollow');
  const [{ resourceId } = { resourceId: '' }] = await eventually('it is requested', async () => {
    const found = await steward.resources(group);
    return found[0]?.state === 'STARTED' && found;
  });
  const row = await steward.hold(ROW(resourceId));
  await steward.waitingForLock('steward-worker');
  await steward.worker.kill();
  await row.release();
  await steward.worker.restart();
  await eventually('it is gone', async () => (await steward.resources(group)).length === 0);
  const releases = steward.calls(group).filter(({ call }) => call === 'release');
  expect(releases.map((one) => [one.resourceId, one.launch])).toEqual([[resourceId, 2]]);
  expect(steward.calls(group).filter(({ call }) => call === 'request')).toHaveLength(1);
  await steward.client.optimizerGroups.pause(group);
});

test('optimizers that could not reach their coordinator for longer than the time-out are not restarted when they come back inside the grace', async () => {
  const group = await steward.group('kill-coordinator', { minParallelism: 4, gracePeriodMs: 15_000 });
  const before = await steward.live(group, 2);
  await steward.coordinator.kill();
  await eventually(
    'all are orphans',
    async () => Object.keys((await view(group)).state.orphans).length === 2,
  );
  await steward.coordinator.restart();
  const after = await steward.live(group, 2);
  expect(after.map(({ resourceId, launch, processId }) => [resourceId, launch, processId])).toEqual(
    before.map(({ resourceId, launch, processId }) => [resourceId, launch, processId]),
  );
  await eventually(
    'no orphan is left',
    async () => Object.keys((await view(group)).state.orphans).length === 0,
  );
  for (const { resourceId } of after) expect(steward.spawned(resourceId)).toEqual([1]);
  await steward.client.optimizerGroups.pause(group);
});

test('a coordinator killed while an optimizer comes back: it is restarted once and registers', async () => {
  const group = await steward.group('kill-both', { minParallelism: 2, gracePeriodMs: 10_000 });
  const [first] = await steward.live(group, 1);
  await steward.killProcess(first!);
  await eventually('launch 2 is in the catalog', async () => (await launch(first!.resourceId)) === 2, 40_000);
  await steward.coordinator.kill();
  await steward.worker.kill();
  await Promise.all([steward.coordinator.restart(), steward.worker.restart()]);
  const [again] = await steward.live(group, 1);
  expect([again!.resourceId, again!.launch]).toEqual([first!.resourceId, 2]);
  expect(steward.spawned(first!.resourceId)).toEqual([1, 2]);
  await steward.client.optimizerGroups.pause(group);
});

test('a keeper that was terminated is missing, which is said, and is started again; nothing is repeated', async () => {
  const group = await steward.group('kill-keeper', { minParallelism: 2 });
  const [first] = await steward.live(group, 1);
  await steward.temporal.client.workflow.getHandle(`optimizer-group/${group}`).terminate('a test');
  expect((await steward.show(group)).keeper).toEqual({ state: 'MISSING' });
  await expect(steward.client.optimizerGroups.pause(group)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  await steward.client.schedules.trigger('steward/ensure-keepers');
  await eventually('it is kept again', async () => (await steward.show(group)).effectiveMinParallelism === 2);
  expect((await steward.live(group, 1))[0]).toMatchObject({ resourceId: first!.resourceId, launch: 1 });
  expect(await steward.resources(group)).toHaveLength(1);
});

test('a keeper terminated while it requests, and its successor: so many resources as asked for', async () => {
  const group = await steward.group('kill-requesting', { minParallelism: 0 });
  const table = await steward.hold('LOCK TABLE optimizer_resource IN SHARE MODE');
  await steward.client.optimizerGroups.scale(group, { minParallelism: 4 });
  await steward.waitingForLock('steward-worker');
  await steward.temporal.client.workflow.getHandle(`optimizer-group/${group}`).terminate('a test');
  await steward.client.schedules.trigger('steward/ensure-keepers');
  await steward.waitingForLock('steward-worker', 2);
  await table.release();
  await steward.live(group, 2);
  expect(await steward.resources(group)).toHaveLength(2);
  await steward.client.optimizerGroups.pause(group);
});

test('what a keeper decided before its successor looked at the group is not requested', async () => {
  const group = await steward.group('superseded', { minParallelism: 0 });
  await eventually('its keeper looked at it', async () => (await view(group)).state.cycle > 0);
  await steward.client.optimizerGroups.pause(group);
  const late = { resourceId: 'late', group, threads: 2, memoryMb: 128, keeper: 'another', actor: 'keeper' };
  const placing = { nodeTimeoutMs: 10_000, onNodes: true };
  expect(await allocateResource(steward.catalog, late, placing)).toBe(false);
  expect(await steward.resources(group)).toEqual([]);
  await takeGroup(steward.catalog, group, 'another');
  expect(await allocateResource(steward.catalog, late, placing)).toBe(true);
});

async function view(group: string): Promise<KeeperView> {
  return steward.temporal.client.workflow.getHandle(`optimizer-group/${group}`).query<KeeperView>('state');
}

async function resource(group: string, resourceId: string) {
  return (await steward.resources(group)).find((one) => one.resourceId === resourceId);
}

async function launch(resourceId: string): Promise<number | undefined> {
  const row = await steward.catalog
    .selectFrom('optimizer_resource')
    .select('epoch')
    .where('resource_id', '=', resourceId)
    .executeTakeFirst();
  return row?.epoch;
}
