import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually } from '../support/eventually.js';
import { temporaryDirectory } from '../support/guard.js';
import { rateJob } from '../support/jobs.js';
import { type Steward, startSteward } from '../support/steward.js';
import { idsIn, numbers } from './task-groups.js';

const BUDGET = 100;
const room = temporaryDirectory('jobs');
let steward: Steward;
beforeAll(async () => {
  steward = await startSteward();
  await steward.nodesAlive();
});
afterAll(async () => {
  await steward?.stop();
  await room.remove();
});

test('a job of 10 task groups stays in budget, and waiting adds no event however often it is looked after', async () => {
  const directory = `${room.path}/ten`;
  const handle = await steward.client.jobs.submit({
    jobId: 'ten',
    job: rateJob(
      directory,
      { rows: 6_000, rowsPerSecond: 50, taskGroups: 10 },
      { progressTimeoutMs: 60_000, checkpointIntervalMs: 1_000 },
    ),
  });
  await eventually('it runs', async () => (await steward.client.jobs.get('ten')).state === 'RUNNING');
  const started = await steward.events(handle.operationId);
  const looked = async () => (await handle.describe()).pendingActivities[0]?.attempt ?? 0;
  const first = await eventually('it is supervised', async () => (await looked()) || undefined);
  await eventually('it was looked after three more times', async () => (await looked()) >= first + 3);
  const waited = await steward.events(handle.operationId);
  expect(waited.total).toBeLessThanOrEqual(started.total + 2);
  expect(waited.activities).toEqual(['scheduleJob', 'deployJob', 'superviseJob']);
  expect(await handle.result()).toMatchObject({ outcome: 'FINISHED', rowsOut: 6_000 });
  const ended = await steward.events(handle.operationId);
  expect(ended.total).toBeLessThanOrEqual(BUDGET);
  expect(idsIn(directory)).toEqual(numbers(0, 6_000));
}, 90_000);

test('short jobs leave nothing but epochs behind: tombstones stay bounded, and go', async () => {
  const { jobs } = steward.client;
  const JOBS = 40;
  const seen: number[] = [];
  for (let at = 0; at < JOBS; at += 4) {
    const handles = await Promise.all(
      [0, 1, 2, 3].map((one) =>
        jobs.submit({
          jobId: `short-${at + one}`,
          job: rateJob(
            `${room.path}/short-${at + one}`,
            { rows: 20, rowsPerSecond: 10_000 },
            { stateCleanupDelayMs: 500 },
          ),
        }),
      ),
    );
    for (const handle of handles)
      expect(await handle.result()).toMatchObject({ outcome: 'FINISHED', rowsOut: 20 });
    seen.push((await jobs.list()).length);
  }
  expect(Math.max(...seen)).toBeLessThan(JOBS);
  await eventually(
    'all tombstones are gone',
    async () =>
      (await steward.catalog.selectFrom('job').select('owner').where('job_id', 'like', 'short-%').execute())
        .length === 0,
  );
  for (const table of [
    'pipeline',
    'task_group',
    'checkpoint',
    'job_state_time',
    'savepoint',
    'owed_cancel',
  ] as const) {
    const left = await steward.catalog
      .selectFrom(table)
      .select('owner')
      .where('job_id', 'like', 'short-%')
      .execute();
    expect(left, table).toEqual([]);
  }
}, 120_000);
