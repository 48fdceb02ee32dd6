import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectNothingLeft, PATIENT, runShortJobs, SHORT_RETENTION } from '../test/jobs/short-jobs.js';
import { runTenTaskGroups } from '../test/jobs/ten-task-groups.js';
import { temporaryDirectory } from '../test/support/guard.js';
import { type Steward, startSteward } from '../test/support/steward.js';

const JOBS = 1_000;
const DELAY_MS = 5_000;
const WAIT_MS = 300_000;

const room = temporaryDirectory('jobs');
let steward: Steward;
beforeAll(async () => {
  const quiet = { ...PATIENT, STEWARD_LOG_LEVEL: 'warn' };
  steward = await startSteward({
    workerEnv: quiet,
    coordinatorEnv: quiet,
    nodeEnv: quiet,
    nodeFlags: SHORT_RETENTION,
  });
  await steward.nodesAlive();
});
afterAll(async () => {
  await steward?.stop();
  await room.remove();
});

test(`${JOBS} short jobs: tombstones stay bounded by delay x rate, and nothing but outcomes and epochs is left`, async () => {
  const ask = { jobs: JOBS, atATime: 10, delayMs: DELAY_MS, directory: room.path };
  const { seconds, jobsPerSecond, samples, mostTombstones } = await runShortJobs(steward, ask);
  const bound = (jobsPerSecond * DELAY_MS) / 1_000;
  console.log(
    `${JOBS} jobs in ${seconds.toFixed(0)} s, ${jobsPerSecond.toFixed(1)}/s: at most ${mostTombstones} tombstones in ` +
      `${samples} looks; delay x rate is ${bound.toFixed(0)}`,
  );
  await expectNothingLeft(steward, ask);
}, 3_600_000);

test('a job of 10 task groups adds no event in 5 minutes of running', async () => {
  const ten = await runTenTaskGroups(steward, `${room.path}/ten`);
  const looks = await ten.looks();
  const before = await ten.history();
  await sleep(WAIT_MS);
  const after = await ten.history();
  console.log(
    `a job of 10 task groups: ${before.total} events when it runs, ${after.total} after 5 more minutes, in which its nodes ` +
      `were asked ${(await ten.looks()) - looks} times`,
  );
  expect(after).toEqual(before);
  await steward.client.jobs.cancel(ten.jobId);
  expect((await ten.history()).total).toBeLessThanOrEqual(100);
}, 600_000);
