import { afterAll, beforeAll, expect, test } from 'vitest';
import { temporaryDirectory } from '../support/guard.js';
import { rateJob } from '../support/jobs.js';
import { startProgram } from '../support/processes.js';
import { type Steward, startSteward } from '../support/steward.js';
import { idsIn, numbers } from './task-groups.js';

/** Twenty pipelines on a small machine: nobody is lost only because he is slow. */
const PATIENT = { STEWARD_RPC_DEADLINE_MS: '2000', STEWARD_NODE_TIMEOUT_MS: '60000' };
const room = temporaryDirectory('jobs');
let steward: Steward;
let sinks = 0;
beforeAll(async () => {
  steward = await startSteward({ workerEnv: PATIENT, coordinatorEnv: PATIENT });
  await steward.nodesAlive();
});
afterAll(async () => {
  await steward?.stop();
  await room.remove();
});

const sink = () => `${room.path}/sink-${++sinks}`;

test('a rolling restart of two workers and two coordinators during 20 running jobs: all finish, rows exact', async () => {
  const env = {
    DATABASE_URL: steward.databaseUrl,
    TEMPORAL_ADDRESS: steward.temporalAddress,
    TEMPORAL_NAMESPACE: 'default',
    ...PATIENT,
  };
  const program = (name: string, path: string) =>
    startProgram({ name, program: path, env, directory: room.path, readyTimeoutMs: 60_000 });
  const more = await Promise.all([
    program('worker-2', 'src/worker/main.ts'),
    program('coordinator-2', 'src/coordinator/main.ts'),
  ]);
  try {
    const jobs = await Promise.all(
      Array.from({ length: 20 }, async (_, at) => {
        const directory = sink();
        const job = rateJob(
          directory,
          { rows: 1_500, rowsPerSecond: 100 },
          { checkpointIntervalMs: 500, progressTimeoutMs: 120_000 },
        );
        return { directory, handle: await steward.client.jobs.submit({ jobId: `rolling-${at}`, job }) };
      }),
    );
    for (const one of [steward.worker, more[0], steward.coordinator, more[1]]) await one.restart();
    for (const { directory, handle } of jobs) {
      expect(await handle.result()).toMatchObject({ outcome: 'FINISHED', rowsOut: 1_500, restarts: 0 });
      expect(idsIn(directory)).toEqual(numbers(0, 1_500));
    }
  } finally {
    await Promise.all(more.map((one) => one.stop()));
  }
}, 240_000);
