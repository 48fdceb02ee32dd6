import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { eventually } from '../support/eventually.js';
import { type Steward, startSteward } from '../support/steward.js';

const DEADLINE_MS = 200;

let steward: Steward;
beforeAll(async () => {
  steward = await startSteward({ workerEnv: { STEWARD_RPC_DEADLINE_MS: String(DEADLINE_MS) } });
});
afterEach(() => steward.clearFaults());
afterAll(() => steward.stop());

test('I1: a deletion that takes 30 times the RPC deadline leaves no ghost, whatever replies are lost', async () => {
  const [group] = await steward.database('ghost', 1);
  await steward.fault('node-1', {
    target: 'delete-region',
    kind: { case: 'delay', value: durationFromMs(30 * DEADLINE_MS) },
  });
  await steward.fault('node-1', { target: 'Submit', times: 3, kind: { case: 'dropReply', value: true } });
  await steward.fault('node-1', { target: 'Submit', times: 2, kind: { case: 'duplicate', value: true } });
  await steward.fault('node-1', {
    target: 'Submit',
    times: 1,
    kind: { case: 'delay', value: durationFromMs(3 * DEADLINE_MS) },
  });

  const removal = await steward.client.regionGroups.remove({ groups: [group!] });
  let sawRowWhileDeleting = 0;
  let ghosts = 0;
  await eventually(
    'the row leaves',
    async () => {
      // The row is read before the disk: once it is gone nothing may be left there.
      const row = await replicaRow(group!, 'node-1');
      const left = isAnythingLeft('node-1');
      if (row && left) sawRowWhileDeleting += 1;
      if (!row && left) ghosts += 1;
      return row === undefined && !left;
    },
    25_000,
  );
  expect(ghosts, 'times that the catalog had forgotten a deletion that still ran').toBe(0);
  expect(sawRowWhileDeleting).toBeGreaterThan(10);
  expect(await removal.result()).toMatchObject({ outcome: 'REMOVED', replicas: 3 });
  expect(steward.effects('node-1', 'delete-region')).toHaveLength(1);
  expect((await steward.events(removal.operationId)).total).toBeLessThanOrEqual(30);
});

test('I3: a deletion that failed is never reported as a success, also when the region is gone afterwards; the retry is #2', async () => {
  const [group] = await steward.database('failing', 1);
  await steward.fault('node-2', {
    target: 'delete-region',
    times: 1,
    kind: { case: 'fail', value: { message: 'disk on fire', afterEffect: true } },
  });
  await steward.fault('node-2', {
    target: 'delete-region',
    match: '#2',
    kind: { case: 'delay', value: durationFromMs(60_000) },
  });
  const removal = await steward.client.regionGroups.remove({ groups: [group!] });

  const row = await eventually('the second attempt', async () => {
    const found = await replicaRow(group!, 'node-2');
    return found?.attempt === 2 && found;
  });
  expect(row.last_error).toContain('disk on fire');
  expect(steward.regionsOnDisk('node-2')).toEqual([]);
  const { blockers } = await eventually('only node-2 left', async () => {
    const found = await removal.describe();
    return found.pendingActivities.length === 1 && found;
  });
  expect(await removal.describe()).toMatchObject({ status: 'RUNNING' });
  expect(blockers).toBeDefined();

  await steward.clearFaults('node-2');
  expect(await removal.result()).toMatchObject({ outcome: 'REMOVED' });
  const attempts = steward.effects('node-2', 'delete-region').filter((id) => id.includes(`/${group}/`));
  expect(attempts.map((id) => id.slice(id.indexOf('#')))).toEqual(['#1', '#2']);
});

test('a region group that is stuck holds up no other, on the same node and in the same removal', async () => {
  const groups = await steward.database('stuck', 3);
  const stuck = groups[1]!;
  await steward.fault('node-2', {
    target: 'delete-region',
    match: `/${stuck}/`,
    kind: { case: 'delay', value: durationFromMs(60_000) },
  });
  const removal = await steward.client.regionGroups.remove({ groups });
  await eventually('only the stuck replica is left', async () => {
    const { progress } = await removal.describe();
    return progress?.total === 9 && progress.open === 1;
  });
  expect(await replicaRow(stuck, 'node-2')).toMatchObject({ state: 'REMOVING' });
  for (const group of [groups[0]!, groups[2]!]) expect(await replicaRow(group, 'node-2')).toBeUndefined();
  await steward.clearFaults();
  expect(await removal.result()).toEqual({ outcome: 'REMOVED', groups: 3, replicas: 9 });
});

test('I8: a node that is down is named as the blocker while the others are done', async () => {
  const [group] = await steward.database('blocked', 1);
  await steward.node('node-3').kill();
  const removal = await steward.client.regionGroups.remove({ groups: [group!] });
  const { blockers, progress } = await eventually('a blocker that is named', async () => {
    const found = await removal.describe();
    return found.blockers.length > 0 && found.pendingActivities.length === 1 && found;
  });
  expect(blockers.join()).toContain('node-3 does not answer');
  expect(progress?.openByNode).toEqual([{ nodeId: 'node-3', replicas: 1 }]);
  expect(steward.regionsOnDisk('node-1').includes(group!)).toBe(false);

  await steward.node('node-3').restart();
  expect(await removal.result()).toMatchObject({ outcome: 'REMOVED' });
  expect(steward.regionsOnDisk('node-3').includes(group!)).toBe(false);
});

function replicaRow(groupId: number, nodeId: string) {
  return steward.catalog
    .selectFrom('replica')
    .selectAll()
    .where('group_id', '=', groupId)
    .where('node_id', '=', nodeId)
    .executeTakeFirst();
}

function isAnythingLeft(nodeId: string): boolean {
  const trash = join(steward.nodeDirectory(nodeId), 'trash');
  const inTrash = existsSync(trash) && readdirSync(trash, { recursive: true }).length > 0;
  return steward.regionsOnDisk(nodeId).length > 0 || inTrash;
}
