import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Steward, startSteward } from '../support/steward.js';

let steward: Steward;
beforeAll(async () => {
  steward = await startSteward();
});
afterAll(() => steward.stop());

test('region groups are created on every node and removed from every node', async () => {
  const groups = await steward.database('sales', 4);
  expect(groups).toHaveLength(4);
  for (const node of ['node-1', 'node-2', 'node-3']) expect(steward.regionsOnDisk(node)).toEqual(groups);

  const removal = await steward.client.regionGroups.remove({ groups });
  expect(await removal.result()).toEqual({ outcome: 'REMOVED', groups: 4, replicas: 12 });
  for (const node of ['node-1', 'node-2', 'node-3']) expect(steward.regionsOnDisk(node)).toEqual([]);
  expect(await steward.client.regionGroups.list()).toEqual([]);
  const { total, activities } = await steward.events(removal.operationId);
  expect(activities).toEqual(['reconcileRegions', 'reconcileRegions', 'reconcileRegions']);
  expect(total).toBeLessThanOrEqual(30);
});
