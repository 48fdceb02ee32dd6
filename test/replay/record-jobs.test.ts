import { afterAll, beforeAll, describe, test } from 'vitest';
import { idsIn } from '../jobs/task-groups.js';
import { eventually } from '../support/eventually.js';
import { temporaryDirectory } from '../support/guard.js';
import { rateJob } from '../support/jobs.js';
import { type Steward, startSteward } from '../support/steward.js';
import { recordHistory } from './recording.js';

/** Writes the histories anew: `RECORD_HISTORIES=1 npx vitest run test/replay/record`. Not part of a normal run. */
describe.skipIf(process.env['RECORD_HISTORIES'] === undefined)('records histories', () => {
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

  const stream = (name: string) =>
    rateJob(
      `${room.path}/${name}`,
      { rows: 0, rowsPerSecond: 500, taskGroups: 2 },
      { jobMode: 'STREAMING', checkpointIntervalMs: 100, retryTimes: 1, stateCleanupDelayMs: 0 },
    );

  test('of the workflows of jobs', async () => {
    const { jobs } = steward.client;
    const batch = rateJob(`${room.path}/finished`, { rows: 600, taskGroups: 3 }, { stateCleanupDelayMs: 0 });
    const finished = await jobs.submit({ jobId: 'finished', job: batch });
    const { owner } = await finished.result();
    await record('job/finished', 'runJob.finished');
    const cleanup = `job-cleanup/finished/${owner}`;
    await (await steward.client.operations.handle(cleanup)).result();
    await record(cleanup, 'purgeJobState.purged');

    await jobs.submit({ jobId: 'saved', job: stream('saved') });
    await eventually('rows', () => idsIn(`${room.path}/saved`).length > 100);
    await jobs.cancel('saved', { savepoint: true });
    await record('job/saved', 'runJob.savepoint');

    const failing = await jobs.submit({ jobId: 'failing', job: stream('failing') });
    await eventually('rows', () => idsIn(`${room.path}/failing`).length > 100);
    for (const node of ['node-1', 'node-2', 'node-3']) {
      await steward.fault(node, {
        target: 'run-task-group',
        match: '/failing/',
        kind: { case: 'fail', value: { message: 'broken' } },
      });
    }
    await failing.result().catch(() => {});
    await record('job/failing', 'runJob.restarted-and-failed');

    const terminated = await jobs.submit({ jobId: 'terminated', job: stream('terminated') });
    await eventually('rows', () => idsIn(`${room.path}/terminated`).length > 100);
    await steward.temporal.client.workflow.getHandle(terminated.operationId).terminate('by hand');
    await eventually('it is driven on', async () => {
      const sweep = await jobs.sweep();
      const { drivenOn } = await sweep.result();
      if (drivenOn.length > 0) await record(sweep.operationId, 'sweepJobs.driven-on');
      return drivenOn.length > 0;
    });
    await steward.temporal.client.workflow.getHandle('job/terminated').cancel();
    await (await jobs.handle('terminated')).result().catch(() => {});
    await record('job/terminated', 'runJob.driven-on-and-cancelled');
  }, 120_000);

  async function record(workflowId: string, name: string): Promise<void> {
    await recordHistory(steward.temporalAddress, workflowId, name);
  }
});
