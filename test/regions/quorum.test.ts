import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { StewardError } from '../../src/client/index.js';
import { eventually } from '../support/eventually.js';
import { type Steward, startSteward } from '../support/steward.js';

const NODES = ['node-1', 'node-2', 'node-3'];

let steward: Steward;
beforeAll(async () => {
  steward = await startSteward({ workerEnv: { STEWARD_CREATION_TIMEOUT_MS: '2500' } });
  await steward.nodesAlive();
});
afterEach(() => steward.clearFaults());
afterAll(() => steward.stop());

test('one node of three refuses: the region group runs at once, and its third replica appears by itself when the node recovers', async () => {
  await steward.client.databases.create({ name: 'two-of-three' });
  await steward.fault('node-3', {
    target: 'create-region',
    times: 4,
    kind: { case: 'fail', value: { message: 'no space left' } },
  });
  const creation = await create('two-of-three', 'first');
  expect(await creation.result()).toEqual({ outcome: 'RUNNING', complete: 0, incomplete: 1 });
  const [group] = await steward.client.regionGroups.list({ database: 'two-of-three' });
  expect(group?.state).toBe('RUNNING');

  const whole = await eventually('the third replica', async () => {
    const found = await steward.client.regionGroups.get(group!.groupId);
    return found.replicas.every(({ state }) => state === 'RUNNING') && found.holder === undefined && found;
  });
  expect(whole.replicas.map(({ nodeId }) => nodeId)).toEqual(NODES);
  for (const node of NODES) expect(steward.regionsOnDisk(node)).toContain(group!.groupId);
  // The first attempt was the creation's; its FAIL stays, and each retry under the recreation's epoch has its own id (I3).
  const attempts = steward.effects('node-3', 'create-region').map((id) => id.slice(id.indexOf('@') + 1));
  expect(attempts.map((id) => id.split('#')[1])).toEqual(['1', '1', '2', '3', '4']);
  expect(new Set(attempts).size).toBe(5);
});

test('two nodes of three refuse: nothing is left on any node, and the failure lists the outcome of each region group', async () => {
  await steward.client.databases.create({ name: 'no-quorum' });
  for (const node of ['node-2', 'node-3']) {
    await steward.fault(node, {
      target: 'create-region',
      kind: { case: 'fail', value: { message: 'refused' } },
    });
  }
  const before = steward.regionsOnDisk('node-1');
  const creation = await create('no-quorum', 'first', 2);
  const error = await creation.result().catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(StewardError);
  expect(error).toMatchObject({ code: 'INCOMPLETE' });
  expect((error as StewardError).message).toMatch(/2 of 2 region groups missed their quorum/);
  expect((error as StewardError).message).toMatch(/\d+ NO_QUORUM: node-1 RUNNING, node-2 FAILED .*refused/);

  await eventually(
    'teardown',
    async () => (await steward.client.regionGroups.list({ database: 'no-quorum' })).length === 0,
  );
  expect(steward.regionsOnDisk('node-1')).toEqual(before);
});

test('a creation that was answered by nobody in time counts as unknown, and is torn down as well', async () => {
  await steward.client.databases.create({ name: 'unknown' });
  await steward.fault('node-1', {
    target: 'create-region',
    kind: { case: 'fail', value: { message: 'refused' } },
  });
  await steward.fault('node-2', {
    target: 'create-region',
    kind: { case: 'fail', value: { message: 'refused' } },
  });
  // The node creates the region, and nobody hears of it.
  await steward.fault('node-3', { target: 'Submit', kind: { case: 'dropReply', value: true } });
  const creation = await create('unknown', 'first');
  const [group] = await eventually('allocation', async () => {
    const found = await steward.client.regionGroups.list({ database: 'unknown' });
    return found.length === 1 && found;
  });
  await eventually('the region that nobody knows of', () =>
    steward.regionsOnDisk('node-3').includes(group!.groupId),
  );
  const error = await creation.result().catch((caught: unknown) => caught);
  expect((error as StewardError).message).toMatch(/node-3 UNKNOWN/);
  await steward.clearFaults();
  await eventually(
    'teardown',
    async () => (await steward.client.regionGroups.list({ database: 'unknown' })).length === 0,
  );
  for (const node of NODES) expect(steward.regionsOnDisk(node)).not.toContain(group!.groupId);
});

test('asking twice with one request name creates once; the same name for something else is refused', async () => {
  await steward.client.databases.create({ name: 'twice' });
  const [one, two] = await Promise.all([create('twice', 'same'), create('twice', 'same')]);
  await Promise.all([one.result(), two.result()]);
  expect(await steward.client.regionGroups.list({ database: 'twice' })).toHaveLength(1);
  const again = await create('twice', 'same');
  expect(await again.result()).toEqual({ outcome: 'RUNNING', complete: 1, incomplete: 0 });
  expect(await steward.client.regionGroups.list({ database: 'twice' })).toHaveLength(1);
  const other = await create('twice', 'same', 2);
  await expect(other.result()).rejects.toMatchObject({
    code: 'REJECTED',
    message: /give another request name/,
  });
});

test('a delayed answer of a node does not hold up the quorum', async () => {
  await steward.client.databases.create({ name: 'slow' });
  await steward.fault('node-2', {
    target: 'create-region',
    times: 1,
    kind: { case: 'delay', value: durationFromMs(2_000) },
  });
  const creation = await create('slow', 'first');
  const [group] = await eventually('RUNNING', async () => {
    const found = await steward.client.regionGroups.list({ database: 'slow' });
    return found[0]?.state === 'RUNNING' && found;
  });
  expect(group!.replicas.map(({ state }) => state)).toEqual(['RUNNING', 'CREATING', 'RUNNING']);
  expect(await creation.result()).toEqual({ outcome: 'RUNNING', complete: 1, incomplete: 0 });
});

function create(database: string, request: string, groups = 1) {
  return steward.client.regionGroups.create({
    database,
    kind: 'DATA',
    groups,
    replicationFactor: 3,
    request,
  });
}
