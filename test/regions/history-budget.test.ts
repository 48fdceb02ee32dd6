import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { type Steward, startSteward } from '../support/steward.js';

const BUDGET = 30;
const ACTIVITIES = ['reconcileRegions', 'reconcileRegions', 'reconcileRegions'];

let steward: Steward;
beforeAll(async () => {
  steward = await startSteward({ nodeFlags: ['--regions=ledger'] });
});
afterEach(() => steward.clearFaults());
afterAll(() => steward.stop());

test.each([
  ['a second', 1, 1_000],
  ['20 seconds', 1, 20_000],
])(
  'the history of a removal that takes %s has one activity for each node and at most 30 events',
  async (name, groupCount, takesMs) => {
    const groups = await steward.database(`takes-${name.replaceAll(' ', '-')}`, groupCount);
    await steward.fault('node-2', {
      target: 'delete-region',
      kind: { case: 'delay', value: durationFromMs(takesMs) },
    });
    const removal = await steward.client.regionGroups.remove({ groups });
    expect(await removal.result()).toMatchObject({ outcome: 'REMOVED', groups: groupCount });
    const { total, activities } = await steward.events(removal.operationId);
    expect(activities).toEqual(ACTIVITIES);
    expect(total).toBeLessThanOrEqual(BUDGET);
  },
  120_000,
);

test('the history of the creation and of the removal of 1,000 region groups has the same activities and stays in budget', async () => {
  await steward.nodesAlive();
  await steward.client.databases.create({ name: 'thousand' });
  const creation = await steward.client.regionGroups.create({
    database: 'thousand',
    kind: 'DATA',
    groups: 1_000,
    replicationFactor: 3,
  });
  expect(await creation.result()).toEqual({ outcome: 'RUNNING', complete: 1_000, incomplete: 0 });
  const groups = (await steward.client.regionGroups.list({ database: 'thousand' })).map(
    ({ groupId }) => groupId,
  );
  expect(groups).toHaveLength(1_000);
  const removal = await steward.client.regionGroups.remove({ groups });
  expect(await removal.result()).toEqual({ outcome: 'REMOVED', groups: 1_000, replicas: 3_000 });
  for (const { operationId } of [creation, removal]) {
    const { total, activities } = await steward.events(operationId);
    expect(activities).toEqual(ACTIVITIES);
    expect(total).toBeLessThanOrEqual(BUDGET);
  }
}, 120_000);
