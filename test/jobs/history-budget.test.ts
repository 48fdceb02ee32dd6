import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually } from '../support/eventually.js';
import { temporaryDirectory } from '../support/guard.js';
import { type Steward, startSteward } from '../support/steward.js';
import { expectNothingLeft, PATIENT, runShortJobs, SHORT_RETENTION } from './short-jobs.js';
import { runTenTaskGroups } from './ten-task-groups.js';

const BUDGET = 100;
const LOOKS = 60;
const room = temporaryDirectory('jobs');
let steward: Steward;
beforeAll(async () => {
  steward = await startSteward({
    workerEnv: { ...PATIENT, STEWARD_JOB_POLL_INTERVAL_MS: '50' },
    coordinatorEnv: PATIENT,
    nodeEnv: { STEWARD_LOG_LEVEL: 'info' },
    nodeFlags: SHORT_RETENTION,
  });
  await steward.nodesAlive();
});
afterAll(async () => {
  await steward?.stop();
  await room.remove();
});

test(`a job of 10 task groups stays in budget, and being looked after ${LOOKS} times adds no event`, async () => {
  const ten = await runTenTaskGroups(steward, `${room.path}/ten`);
  const looks = await ten.looks();
  const before = await ten.history();
  await eventually(`${LOOKS} looks`, async () => (await ten.looks()) >= looks + LOOKS);
  expect(await ten.history()).toEqual(before);
  expect(before.activities).toEqual(['scheduleJob', 'deployJob', 'superviseJob']);
  const { outcome } = await steward.client.jobs.cancel(ten.jobId, { savepoint: true });
  expect(outcome).toBe('SAVEPOINT_DONE');
  expect((await ten.history()).total).toBeLessThanOrEqual(BUDGET);
}, 120_000);

test('short jobs: tombstones stay bounded by delay x rate, and nothing but outcomes and epochs is left', async () => {
  const ask = { jobs: 60, atATime: 8, delayMs: 2_000, directory: room.path };
  const { samples, mostTombstones } = await runShortJobs(steward, ask);
  expect(samples).toBeGreaterThan(10);
  expect(mostTombstones).toBeLessThan(ask.jobs);
  await expectNothingLeft(steward, ask);
}, 240_000);
