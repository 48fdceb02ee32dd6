import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Catalog } from '../../src/catalog/catalog.js';
import { findHolder } from '../../src/catalog/claims.js';
import { claimCreation } from '../../src/catalog/creation.js';
import { claimDatabaseDeletion, closeDatabaseDeletion } from '../../src/catalog/database-deletion.js';
import { createDatabase } from '../../src/catalog/databases.js';
import { claimRecreation, closeRecreation } from '../../src/catalog/recreation.js';
import { claimRemoval, closeRemoval } from '../../src/catalog/removal.js';
import { openReplicas, raiseAttempts, recordCreated, recordRemoved } from '../../src/catalog/replicas.js';
import { claimant, startCatalog } from '../support/catalog.js';
import { seededRandom } from '../support/random.js';

const NODES = ['node-1', 'node-2', 'node-3'];
const GROUPS = 3;
const everybodyIsOpen = { isOpen: () => Promise.resolve(true), nodeTimeoutMs: 600_000 };

let catalog: Catalog;
let stop: () => Promise<void>;

beforeAll(async () => {
  const started = await startCatalog(NODES);
  catalog = started.catalog;
  stop = () => started.stop();
});
afterAll(() => stop());

test('a removal taken over by a database deletion between a SUCCESS and the move of its row moves nothing of it: 200 interleavings', async () => {
  for (let seed = 1; seed <= 200; seed += 1) {
    const random = seededRandom(seed);
    const database = `seed${seed}`;
    const groups = await runningGroups(database);
    const removal = claimant('removeRegionGroups', `remove/${seed}`);
    const deletion = claimant('deleteDatabase', `delete/${seed}`);
    await claimRemoval(catalog, removal, { groups }, everybodyIsOpen);
    const removalHolder = (await findHolder(catalog, removal))!.holder_id;

    // What the removal read, and the node answered SUCCESS to, before the deletion may take over.
    const answered = await Promise.all(NODES.map((nodeId) => open(removalHolder, nodeId)));
    let movedByRemoval = 0;
    const moves = NODES.flatMap((nodeId, index) =>
      answered[index]!.map((replica) => async () => {
        const moved = await recordRemoved(catalog, removalHolder, nodeId, [replica]);
        movedByRemoval += moved;
      }),
    );
    let grantedToDeletion = 0;
    const takeOver = async () => {
      const claim = await claimDatabaseDeletion(catalog, deletion, database, everybodyIsOpen);
      if (claim.kind !== 'GRANTED') throw new Error(`seed ${seed}: ${claim.kind}`);
      grantedToDeletion = claim.nodes.reduce((sum, { replicas }) => sum + replicas, 0);
    };
    await atRandomTimes(random, [...moves, takeOver]);

    // Every row was moved by exactly one of the two, and the removal moved none after it was superseded.
    expect(movedByRemoval + grantedToDeletion, `seed ${seed}`).toBe(GROUPS * NODES.length);
    expect(await rows(database), `seed ${seed}`).toEqual({ groups: GROUPS, replicas: grantedToDeletion });

    const closedRemoval = await closeRemoval(catalog, removal);
    expect(closedRemoval.supersededBy?.workflowId, `seed ${seed}`).toBe(deletion.workflowId);
    expect(closedRemoval.removedGroups, `seed ${seed}: groups dropped by the superseded holder`).toBe(0);
    expect(await rows(database)).toEqual({ groups: GROUPS, replicas: grantedToDeletion });

    const deletionHolder = (await findHolder(catalog, deletion))!.holder_id;
    for (const nodeId of NODES) {
      await recordRemoved(catalog, deletionHolder, nodeId, await open(deletionHolder, nodeId));
    }
    await closeDatabaseDeletion(catalog, deletion, database);
    expect(await rows(database), `seed ${seed}`).toEqual({ groups: 0, replicas: 0 });
    expect(await catalog.selectFrom('database').where('name', '=', database).selectAll().execute()).toEqual(
      [],
    );
  }
}, 120_000);

test('I9: what was read before a round of the same holder raised the epoch moves nothing; of two that saw one attempt fail, one raises it (I3)', async () => {
  const groups = await runningGroups('rounds');
  await catalog
    .deleteFrom('replica')
    .where('group_id', 'in', groups)
    .where('node_id', '=', 'node-3')
    .execute();
  const recreation = claimant('recreateMissingReplicas', 'recreate/rounds');
  const claimRound = (round: string) =>
    claimRecreation(catalog, recreation, { database: 'rounds', groups }, { ...everybodyIsOpen, round });
  await claimRound('run#1');
  const holder = (await findHolder(catalog, recreation))!.holder_id;
  const missing = () =>
    openReplicas(catalog, {
      holderId: holder,
      nodeId: 'node-3',
      state: 'CREATING',
      after: 0,
      limit: 100,
    });
  const failed = (read: Awaited<ReturnType<typeof missing>>) =>
    read.map((replica) => ({ ...replica, error: 'no room', waitMs: 0 }));
  const before = await missing();
  await claimRound('run#2');
  expect(await recordCreated(catalog, holder, 'node-3', before)).toBe(0);
  expect(await raiseAttempts(catalog, holder, 'node-3', failed(before))).toBe(0);

  const now = await missing();
  expect(now.map(({ groupId, attempt }) => ({ groupId, attempt }))).toEqual(
    groups.map((groupId) => ({ groupId, attempt: 1 })),
  );
  expect(await raiseAttempts(catalog, holder, 'node-3', failed(now))).toBe(GROUPS);
  expect(await raiseAttempts(catalog, holder, 'node-3', failed(now))).toBe(0);
  expect((await missing()).map(({ attempt }) => attempt)).toEqual(groups.map(() => 2));
});

test('a closing step that is asked again answers the same and changes nothing', async () => {
  const groups = await runningGroups('again');
  const removal = claimant('removeRegionGroups', 'remove/again');
  await claimRemoval(catalog, removal, { groups }, everybodyIsOpen);
  const holder = (await findHolder(catalog, removal))!.holder_id;
  for (const nodeId of NODES) await recordRemoved(catalog, holder, nodeId, await open(holder, nodeId));
  const first = await closeRemoval(catalog, removal);
  expect(first).toEqual({ removedGroups: GROUPS, removedReplicas: GROUPS * NODES.length });
  expect(await closeRemoval(catalog, removal)).toEqual(first);
});

test('I5: a recreation whose predecessor lost everything to a database deletion is superseded by it, before and after its end', async () => {
  for (const [name, before] of [
    ['during', true],
    ['after', false],
  ] as const) {
    await createDatabase(catalog, name, 'tester');
    const input = creationOf(name);
    const creation = claimant('createRegionGroups', `create/${name}`, input);
    await claimCreation(catalog, creation, input, everybodyIsOpen);
    const deletion = claimant('deleteDatabase', `delete/${name}`);
    await claimDatabaseDeletion(catalog, deletion, name, everybodyIsOpen);
    if (!before) {
      const holder = (await findHolder(catalog, deletion))!.holder_id;
      for (const nodeId of NODES) await recordRemoved(catalog, holder, nodeId, await open(holder, nodeId));
      await closeDatabaseDeletion(catalog, deletion, name);
    }
    const recreation = claimant('recreateMissingReplicas', `recreate/${name}`);
    const from = { workflowId: creation.workflowId, firstRunId: creation.firstRunId };
    const claim = () =>
      claimRecreation(catalog, recreation, { database: name, from }, { ...everybodyIsOpen, round: 'run#1' });
    expect(await claim(), name).toEqual({ kind: 'GRANTED', nodes: [], groups: 0, unplaced: 0 });
    expect(await claim(), `${name}, asked again`).toMatchObject({ kind: 'GRANTED', groups: 0 });
    expect(await closeRecreation(catalog, recreation)).toMatchObject({
      supersededBy: { workflowId: deletion.workflowId },
    });
  }
});

test('I5: a recreation that nobody handed anything over to is refused by the deletion of its database', async () => {
  const groups = await runningGroups('asked');
  const deletion = claimant('deleteDatabase', 'delete/asked');
  await claimDatabaseDeletion(catalog, deletion, 'asked', everybodyIsOpen);
  const options = { ...everybodyIsOpen, round: 'run#1' };
  const asked = claimant('recreateMissingReplicas', 'recreate/asked');
  expect(await claimRecreation(catalog, asked, { database: 'asked', groups }, options)).toMatchObject({
    kind: 'REFUSED',
    holder: { workflowId: deletion.workflowId },
  });
});

async function runningGroups(database: string): Promise<number[]> {
  await createDatabase(catalog, database, 'tester');
  const input = creationOf(database);
  const creation = claimant('createRegionGroups', `create/${database}`, input);
  await claimCreation(catalog, creation, input, everybodyIsOpen);
  const holder = (await findHolder(catalog, creation))!.holder_id;
  for (const nodeId of NODES) {
    const which = { holderId: holder, nodeId, state: 'CREATING' as const, after: 0, limit: 100 };
    await recordCreated(catalog, holder, nodeId, await openReplicas(catalog, which));
  }
  const created = await catalog
    .selectFrom('region_group')
    .select(['group_id', 'state', 'holder_id'])
    .where('database', '=', database)
    .execute();
  expect(created.map(({ state, holder_id }) => ({ state, holder_id }))).toEqual(
    Array.from({ length: GROUPS }, () => ({ state: 'RUNNING', holder_id: null })),
  );
  return created.map(({ group_id }) => group_id);
}

function creationOf(database: string) {
  return {
    database,
    kind: 'DATA',
    groups: GROUPS,
    replicationFactor: NODES.length,
    request: 'first',
    actor: 'tester',
  } as const;
}

function open(holderId: number, nodeId: string) {
  return openReplicas(catalog, { holderId, nodeId, state: 'REMOVING', after: 0, limit: 100 });
}

async function rows(database: string): Promise<{ groups: number; replicas: number }> {
  const groups = await catalog
    .selectFrom('region_group')
    .select('group_id')
    .where('database', '=', database)
    .execute();
  const ids = [-1, ...groups.map(({ group_id }) => group_id)];
  const replicas = await catalog
    .selectFrom('replica')
    .select('node_id')
    .where('group_id', 'in', ids)
    .execute();
  return { groups: groups.length, replicas: replicas.length };
}

/** Runs the steps in a shuffled order, each one started before the one before it has ended or after, by chance. */
async function atRandomTimes(random: () => number, steps: (() => Promise<void>)[]): Promise<void> {
  const shuffled = steps.map((step) => ({ step, at: random() })).sort((a, b) => a.at - b.at);
  const running: Promise<void>[] = [];
  for (const { step } of shuffled) {
    const started = step();
    running.push(started);
    if (random() < 0.5) await started;
  }
  await Promise.all(running);
}
