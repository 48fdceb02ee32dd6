import { WorkflowFailedError } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Steward, startSteward } from '../support/steward.js';

let steward: Steward;
let group: number;
beforeAll(async () => {
  steward = await startSteward();
  [group] = (await steward.database('sales', 1)) as [number];
});
afterAll(() => steward.stop());

const creation = {
  database: 'sales',
  kind: 'DATA',
  groups: 1,
  replicationFactor: 3,
  request: 'x',
  actor: 'a',
};

test.each<[string, string, unknown, RegExp]>([
  ['createRegionGroups', 'no object', 'junk', /^input: expected one object, got "junk"/],
  ['createRegionGroups', 'nothing', undefined, /^input: expected one object/],
  ['createRegionGroups', 'a bad name', { ...creation, database: 'No Name' }, /^database: /],
  [
    'createRegionGroups',
    'a count of none',
    { ...creation, groups: 0 },
    /^groups: expected a whole number from 1/,
  ],
  ['createRegionGroups', 'an unknown field', { ...creation, colour: 'red' }, /^colour: unknown field/],
  ['removeRegionGroups', 'neither groups nor predecessor', {}, /^groups: give either groups or from/],
  ['removeRegionGroups', 'an id that is a text', { groups: ['7'] }, /^0: expected a whole number/],
  ['recreateMissingReplicas', 'no database', { groups: [1] }, /^database: /],
  ['deleteDatabase', 'a number', 7, /^input: /],
  ['sweepReplicas', 'an unknown mode', { mode: 'destroy' }, /^mode: expected one of observe, repair/],
])('%s started raw with %s fails at once and says why', async (workflowType, what, input, message) => {
  const handle = await steward.temporal.client.workflow.start(workflowType, {
    workflowId: `junk/${workflowType}/${what}`,
    taskQueue: 'steward',
    args: input === undefined ? [] : [input],
  });
  const cause = await failure(handle.result());
  expect(cause.type).toBe('InvalidInput');
  expect(cause.message).toMatch(message);
  expect((await steward.events(handle.workflowId)).total).toBeLessThanOrEqual(5);
});

test.each<[string, string, unknown, RegExp]>([
  [
    'createRegionGroups',
    'a database that does not exist',
    { ...creation, database: 'none' },
    /database none does not exist/,
  ],
  [
    'createRegionGroups',
    'more replicas than nodes',
    { ...creation, replicationFactor: 4 },
    /4 replicas need as many live nodes, and there are 3/,
  ],
  ['removeRegionGroups', 'an unknown id', { groups: [999] }, /region group 999 does not exist/],
  [
    'removeRegionGroups',
    'one unknown id among known ones',
    { groups: [1, 999] },
    /region group 999 does not exist/,
  ],
  [
    'recreateMissingReplicas',
    'a region group of another database',
    { database: 'other', groups: [1] },
    /database other does not exist/,
  ],
  ['deleteDatabase', 'a database that does not exist', { database: 'none' }, /database none does not exist/],
])('%s asked for %s is rejected, and nothing changes', async (workflowType, what, input, message) => {
  const before = await everything();
  const handle = await steward.temporal.client.workflow.start(workflowType, {
    workflowId: `rejected/${workflowType}/${what}`,
    taskQueue: 'steward',
    args: [input],
  });
  const cause = await failure(handle.result());
  expect(cause.type).toBe('Rejected');
  expect(cause.message).toMatch(message);
  expect(await everything()).toEqual(before);
});

test('an id that was removed is not found, by the client and by the workflow', async () => {
  const [removed] = await steward.database('short', 1);
  await (await steward.client.regionGroups.remove({ groups: [removed!] })).result();
  await expect(steward.client.regionGroups.get(removed!)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  const again = await steward.client.regionGroups.remove({ groups: [removed!] });
  await expect(again.result()).rejects.toMatchObject({ message: /never created, or removed/ });
});

test('the client refuses bad input before anything is sent', async () => {
  const { regionGroups, databases } = steward.client;
  const good = { database: 'sales', kind: 'DATA' as const, groups: 1, replicationFactor: 3 };
  await expect(regionGroups.create({ ...good, groups: 1.5 })).rejects.toMatchObject({
    code: 'INVALID_INPUT',
  });
  await expect(regionGroups.create({ ...good, database: '../x' })).rejects.toMatchObject({
    code: 'INVALID_INPUT',
  });
  await expect(regionGroups.remove({ groups: [] })).rejects.toMatchObject({ code: 'INVALID_INPUT' });
  await expect(databases.create({ name: 'Ünicode' })).rejects.toMatchObject({ code: 'INVALID_INPUT' });
  await expect(databases.create({ name: 'sales' })).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
  expect((await regionGroups.get(group)).state).toBe('RUNNING');
});

async function failure(result: Promise<unknown>): Promise<ApplicationFailure> {
  const error = await result.then(
    () => undefined,
    (caught: unknown) => caught,
  );
  if (!(error instanceof WorkflowFailedError) || !(error.cause instanceof ApplicationFailure)) {
    throw new Error(`expected a failed workflow, got ${String(error)}`);
  }
  return error.cause;
}

async function everything() {
  const { catalog } = steward;
  return {
    databases: await catalog.selectFrom('database').selectAll().orderBy('name').execute(),
    allocations: await catalog.selectFrom('allocation').selectAll().execute(),
    groups: await catalog.selectFrom('region_group').selectAll().orderBy('group_id').execute(),
    replicas: await catalog
      .selectFrom('replica')
      .selectAll()
      .orderBy('group_id')
      .orderBy('node_id')
      .execute(),
    holders: (await catalog.selectFrom('holder').select('holder_id').execute()).length,
    disks: ['node-1', 'node-2', 'node-3'].map((node) => steward.regionsOnDisk(node)),
  };
}
