import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { disagreements } from '../chaos/agreement.js';
import { eventually } from '../support/eventually.js';
import { type Steward, startSteward } from '../support/steward.js';

let steward: Steward;
beforeAll(async () => {
  steward = await startSteward({ nodes: 2 });
  await steward.nodesAlive();
});
afterAll(() => steward?.stop());

test('a node whose disk was put back to an older copy: the sweep tells what differs, repair mends it, and what was under way ends', async () => {
  const [removed, going, kept] = (await steward.database('before', 3, 2)) as [number, number, number];
  const disk = steward.nodeDirectory('node-2');
  const copy = join(steward.directory, 'copy');
  await steward.node('node-2').stop();
  await cp(disk, copy, { recursive: true });
  await steward.node('node-2').restart();
  await steward.nodesAlive();

  // What the copy does not know: one was removed, one made, and one is being removed.
  await (await steward.client.regionGroups.remove({ groups: [removed] })).result();
  const [made] = (await steward.database('after', 1, 2)) as [number];
  await steward.fault('node-2', {
    target: 'delete-region',
    kind: { case: 'delay', value: durationFromMs(600_000) },
  });
  const removal = await steward.client.regionGroups.remove({ groups: [going] });
  await eventually('node-2 alone is at it', async () => {
    const { pendingActivities } = await removal.describe();
    return pendingActivities.length === 1 && !steward.regionsOnDisk('node-1').includes(going);
  });
  await steward.node('node-2').stop();
  await rm(disk, { recursive: true });
  await cp(copy, disk, { recursive: true });
  await steward.node('node-2').restart();
  await steward.nodesAlive();

  expect(await removal.result()).toMatchObject({ outcome: 'REMOVED', groups: 1 });
  expect(steward.regionsOnDisk('node-2')).toEqual([removed, kept]);
  const observed = await sweep('observe');
  expect(observed.nodes).toMatchObject([
    { nodeId: 'node-1', leaked: [], missing: [] },
    { nodeId: 'node-2', leaked: [removed], missing: [made] },
  ]);
  expect(steward.regionsOnDisk('node-2')).toEqual([removed, kept]);

  expect(await sweep('repair')).toMatchObject({ removed: 1, recreations: [expect.any(String)] });
  await eventually('catalog and disks agree', async () => (await disagreements(steward)).length === 0);
  expect(steward.regionsOnDisk('node-2')).toEqual([kept, made]);
}, 90_000);

async function sweep(mode: 'observe' | 'repair') {
  return (await steward.client.sweeps.run({ mode, gracePeriodMs: 0 })).result();
}
