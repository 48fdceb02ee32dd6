import { Client as PgClient } from 'pg';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { eventually } from '../support/eventually.js';
import { type Steward, startSteward } from '../support/steward.js';
import { disagreements, isAnythingOnDisk, ranTwice } from './agreement.js';
import { lockWaits } from './lock-waits.js';
import { deletedRegions, deletionsUnderWay, slow } from './slow-regions.js';

const NODES = ['node-1', 'node-2', 'node-3'];
const SLOW = ['node-2', 'node-3'];
const GROUPS = 3;
const BUDGET = 30;
const EVENTS_OF_AN_ACTIVITY = 6;

let steward: Steward;
beforeAll(async () => {
  steward = await startSteward({ schedules: true, ownPostgres: true, ownTemporalDb: true });
  await steward.nodesAlive();
}, 120_000);
afterEach(async () => {
  await steward.clearFaults();
  expect(await disagreements(steward)).toEqual([]);
  for (const node of NODES) expect(ranTwice(steward, node, 'delete-region')).toEqual([]);
});
afterAll(() => steward.stop());

test('the worker is killed in the middle of a database deletion: another one finds what the nodes did meanwhile', async () => {
  const { deletion, groups } = await deletionInTheMiddle('worker');
  await steward.worker.kill();
  await regionsGoMeanwhile();
  expect((await deletion.describe()).status).toBe('RUNNING');
  await steward.worker.restart();
  await expectDeletedOnce(deletion, groups);
});

test('the coordinator is killed in the middle of a database deletion: it goes on without', async () => {
  const { deletion, groups } = await deletionInTheMiddle('coordinator');
  await steward.coordinator.kill();
  await steward.clearFaults();
  expect(await deletion.result()).toEqual(deleted(groups));
  await steward.coordinator.restart();
  await steward.nodesAlive();
  await expectDeletedOnce(deletion, groups);
});

test('I2: a node is killed in the middle of a database deletion: it resumes its deletions, each as the operation it was', async () => {
  const { deletion, groups } = await deletionInTheMiddle('node');
  await steward.node('node-2').kill();
  await steward.clearFaults('node-1');
  await steward.clearFaults('node-3');
  await eventually('node-2 is what is left, and named', async () => {
    const { pendingActivities, blockers } = await deletion.describe();
    return pendingActivities.length === 1 && blockers.join().includes('node-2 does not answer');
  });
  expect(isAnythingOnDisk(steward, 'node-2')).toBe(true);
  await steward.node('node-2').restart();
  await expectDeletedOnce(deletion, groups);
});

test('PostgreSQL is killed in the middle of a database deletion: the history does not grow while it is away, and the rows go when it is back', async () => {
  const { deletion, groups } = await deletionInTheMiddle('postgres');
  await withoutPostgres(async () => {
    const before = await atWork(deletion, SLOW.length);
    await regionsGoMeanwhile();
    const after = await triedAgain(deletion, before);
    expect(after.attempts).toHaveLength(SLOW.length);
    expect(after.events).toBe(before.events);
  });
  await expectDeletedOnce(deletion, groups);
}, 60_000);

test('a deletion that is asked for while PostgreSQL is away begins when it is back; its history does not grow until then', async () => {
  const groups = await steward.database('asked-meanwhile', GROUPS);
  const deletion = await withoutPostgres(async () => {
    const asked = await steward.client.databases.delete('asked-meanwhile');
    const before = await atWork(asked, 1);
    const after = await triedAgain(asked, before);
    expect(after.events).toBe(before.events);
    for (const node of NODES) expect(steward.regionsOnDisk(node)).toEqual(groups);
    return asked;
  });
  expect(await deletion.result()).toEqual({ outcome: 'DELETED', groups: GROUPS, replicas: 9 });
  const { total, activities } = await steward.events(deletion.operationId);
  // The claim, which was not to be had at once, has become an activity of its own.
  expect(activities).toEqual(['claimDatabaseDeletion', ...NODES.map(() => 'reconcileRegions')]);
  expect(total).toBeLessThanOrEqual(BUDGET + EVENTS_OF_AN_ACTIVITY);
}, 60_000);

test('worker and coordinator outlive a PostgreSQL that is killed under their transactions', async () => {
  await steward.database('under-transactions', 1);
  const pids = [steward.worker.pid, steward.coordinator.pid];
  const blocker = new PgClient({ connectionString: steward.databaseUrl });
  blocker.on('error', () => {});
  await blocker.connect();
  await blocker.query('BEGIN');
  await blocker.query('SELECT FROM region_group FOR UPDATE');
  await blocker.query('SELECT FROM node FOR UPDATE');
  const deletion = await steward.client.databases.delete('under-transactions');
  for (const program of ['steward-worker', 'steward-coordinator']) {
    await eventually(`${program} waits for a lock`, async () =>
      (await lockWaits(steward)).some((one) => one.program === program),
    );
  }
  await withoutPostgres(() => blocker.end().catch(() => {}));
  expect(await deletion.result()).toEqual({ outcome: 'DELETED', groups: 1, replicas: 3 });
  await steward.nodesAlive();
  expect([steward.worker.pid, steward.coordinator.pid]).toEqual(pids);
  expect([steward.worker.running, steward.coordinator.running]).toEqual([true, true]);
});

test('the Temporal server is killed in the middle of a database deletion: it goes on where the history stands', async () => {
  const { deletion, groups } = await deletionInTheMiddle('temporal');
  const pid = steward.worker.pid;
  await steward.temporal.process.kill();
  await regionsGoMeanwhile();
  await steward.temporal.restart();
  await expectDeletedOnce(deletion, groups);
  expect([steward.worker.pid, steward.worker.running]).toEqual([pid, true]);
}, 60_000);

test('everything is killed at once in the middle of a database deletion, and started again', async () => {
  const { deletion, groups } = await deletionInTheMiddle('everything');
  const processes = [steward.worker, steward.coordinator, ...steward.nodes];
  await Promise.all([
    ...processes.map((process) => process.kill()),
    steward.postgres!.kill(),
    steward.temporal.process.kill(),
  ]);
  await Promise.all([steward.postgres!.restart(), steward.temporal.restart()]);
  await steward.coordinator.restart();
  await Promise.all([steward.worker.restart(), ...steward.nodes.map((node) => node.restart())]);
  await expectDeletedOnce(deletion, groups);
}, 60_000);

type Deletion = Awaited<ReturnType<Steward['client']['databases']['delete']>>;

/** node-1 has deleted its regions and its rows are gone; the other nodes are deleting theirs until the faults are cleared. */
async function deletionInTheMiddle(database: string): Promise<{ deletion: Deletion; groups: number[] }> {
  const groups = await steward.database(database, GROUPS);
  await slow(steward, SLOW, 'delete-region');
  const deletion = await steward.client.databases.delete(database);
  await deletionsUnderWay(steward, SLOW, groups);
  await eventually('node-1 is done', async () => {
    const { progress } = await deletion.describe();
    return progress?.openByNode.map(({ nodeId }) => nodeId).join() === SLOW.join();
  });
  return { deletion, groups };
}

/** The nodes end their deletions although nobody hears of it. */
async function regionsGoMeanwhile(): Promise<void> {
  await steward.clearFaults();
  await eventually('the disks are empty', () => NODES.every((node) => !isAnythingOnDisk(steward, node)));
}

function deleted(groups: readonly number[]) {
  return { outcome: 'DELETED', groups: groups.length, replicas: groups.length * NODES.length };
}

async function expectDeletedOnce(deletion: Deletion, groups: readonly number[]): Promise<void> {
  expect(await deletion.result()).toEqual(deleted(groups));
  for (const node of NODES) {
    expect(isAnythingOnDisk(steward, node)).toBe(false);
    const own = deletedRegions(steward, node).filter((id) => groups.includes(id));
    expect(own.sort((a, b) => a - b)).toEqual(groups);
  }
  const { total, activities } = await steward.events(deletion.operationId);
  expect(activities).toEqual(NODES.map(() => 'reconcileRegions'));
  expect(total).toBeLessThanOrEqual(BUDGET);
}

/** Kills PostgreSQL, and starts it again after what is done without it. */
async function withoutPostgres<T>(work: () => Promise<T>): Promise<T> {
  await steward.postgres!.kill();
  try {
    return await work();
  } finally {
    await steward.postgres!.restart();
  }
}

/** How often each pending activity was tried, and how long the history is. */
interface Work {
  readonly attempts: readonly number[];
  readonly events: number;
}

/** Resolves when the workflow has nothing more to do by itself: it waits for that many activities. Asks Temporal alone. */
async function atWork(deletion: Deletion, activities: number): Promise<Work> {
  return eventually(`only ${activities} activities are under way`, async () => {
    const work = await lookAtWork(deletion);
    return work?.attempts.length === activities && work;
  });
}

/** Resolves when each of the activities was tried three times more. */
async function triedAgain(deletion: Deletion, before: Work): Promise<Work> {
  return eventually(
    'three more attempts',
    async () => {
      const work = await lookAtWork(deletion);
      return work?.attempts.every((attempt, index) => attempt >= before.attempts[index]! + 3) && work;
    },
    40_000,
  );
}

/** Undefined while a workflow task is under way. */
async function lookAtWork({ operationId }: Deletion): Promise<Work | undefined> {
  const { raw } = await steward.temporal.client.workflow.getHandle(operationId).describe();
  if (raw.pendingWorkflowTask) return undefined;
  return {
    attempts: (raw.pendingActivities ?? []).map(({ attempt }) => attempt ?? 1),
    events: Number(raw.workflowExecutionInfo?.historyLength),
  };
}
