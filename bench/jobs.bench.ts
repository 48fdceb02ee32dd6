import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually } from '../test/support/eventually.js';
import { temporaryDirectory } from '../test/support/guard.js';
import { rateJob } from '../test/support/jobs.js';
import { type Steward, startSteward } from '../test/support/steward.js';

const JOBS = 1_000;
const AT_A_TIME = 10;
const DELAY_MS = 2_000;
const TABLES = [
  'job',
  'pipeline',
  'task_group',
  'checkpoint',
  'job_state_time',
  'savepoint',
  'owed_cancel',
] as const;

const room = temporaryDirectory('jobs');
let steward: Steward;
beforeAll(async () => {
  const patient = { STEWARD_RPC_DEADLINE_MS: '2000', STEWARD_NODE_TIMEOUT_MS: '60000' };
  steward = await startSteward({
    workerEnv: patient,
    coordinatorEnv: patient,
    nodeEnv: { STEWARD_LOG_LEVEL: 'warn' },
  });
  await steward.nodesAlive();
});
afterAll(async () => {
  await steward?.stop();
  await room.remove();
});

test(`${JOBS} short jobs: tombstones stay bounded by delay x rate, and nothing but epochs is left`, async () => {
  const started = performance.now();
  let next = 0;
  let most = 0;
  let slowest = 0;
  const lane = async () => {
    while (next < JOBS) {
      const at = next++;
      const begun = performance.now();
      const job = rateJob(
        `${room.path}/sink-${at}`,
        { rows: 10, rowsPerSecond: 10_000 },
        { stateCleanupDelayMs: DELAY_MS },
      );
      const handle = await steward.client.jobs.submit({ jobId: `short-${at}`, job });
      expect(await handle.result()).toMatchObject({ outcome: 'FINISHED', rowsOut: 10 });
      slowest = Math.max(slowest, performance.now() - begun);
      if (at % 10 === 0) most = Math.max(most, await rows('job'));
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, lane));
  const seconds = (performance.now() - started) / 1_000;
  const rate = JOBS / seconds;
  console.log(
    `${JOBS} jobs in ${seconds.toFixed(0)} s: ${rate.toFixed(1)}/s; slowest ${(slowest / 1_000).toFixed(1)} s`,
  );
  console.log(
    `rows of jobs at most ${most}; delay x rate is ${((rate * DELAY_MS) / 1_000).toFixed(0)}, running at a time ${AT_A_TIME}`,
  );
  // A purge comes a little after its time.
  expect(most).toBeLessThan(3 * ((rate * DELAY_MS) / 1_000) + 2 * AT_A_TIME);
  await eventually('every tombstone has gone', async () => (await rows('job')) === 0, 60_000);
  for (const table of TABLES) expect(await rows(table), table).toBe(0);
}, 900_000);

async function rows(table: (typeof TABLES)[number]): Promise<number> {
  return (await steward.catalog.selectFrom(table).select('job_id').execute()).length;
}
