import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { eventually } from '../support/eventually.js';
import { temporaryDirectory } from '../support/guard.js';
import { filesJob, rateJob } from '../support/jobs.js';
import { type Steward, startSteward } from '../support/steward.js';
import { idsIn, numbers, stagedIn, writeCsv } from './task-groups.js';

const room = temporaryDirectory('jobs');
let steward: Steward;
let sinks = 0;
beforeAll(async () => {
  // Enough for any job that is not started again.
  steward = await startSteward({ continueAsNewAfter: 20 });
  await steward.nodesAlive();
});
afterEach(() => steward.clearFaults());
afterAll(async () => {
  await steward?.stop();
  await room.remove();
});

const sink = () => `${room.path}/sink-${++sinks}`;

test('a batch job over files runs on all nodes, and the sink has every row once', async () => {
  const directory = sink();
  const paths = [1, 2, 3, 4].map((at) => writeCsv(`${room.path}/in-${at}.csv`, (at - 1) * 1_000 + 1, 1_000));
  const handle = await steward.client.jobs.submit({ jobId: 'files', job: filesJob(directory, paths) });
  expect(await handle.result()).toMatchObject({
    outcome: 'FINISHED',
    rowsIn: 4_000,
    rowsOut: 4_000,
    restarts: 0,
  });
  expect(idsIn(directory)).toEqual(numbers(1, 4_000));
  const job = await steward.client.jobs.get('files');
  expect(new Set(job.locations.map(({ nodeId }) => nodeId)).size).toBe(3);
  expect(job).toMatchObject({ state: 'FINISHED', pipelines: [{ state: 'FINISHED' }], owedCancels: [] });
  expect(job.times.map(({ state }) => state)).toEqual(['CREATED', 'SCHEDULED', 'RUNNING', 'FINISHED']);
});

test('a task group that fails without retries fails the job, and everything of it is terminal', async () => {
  const directory = sink();
  await steward.fault('node-2', {
    target: 'run-task-group',
    match: '/broken/',
    kind: { case: 'fail', value: { message: 'no such luck' } },
  });
  const handle = await steward.client.jobs.submit({
    jobId: 'broken',
    job: rateJob(directory, { rows: 30_000, taskGroups: 3, rowsPerSecond: 1_000 }),
  });
  await expect(handle.result()).rejects.toMatchObject({
    code: 'FAILED',
    message: expect.stringContaining('no such luck'),
  });
  const job = await steward.client.jobs.get('broken');
  expect(job).toMatchObject({ state: 'FAILED', pipelines: [{ state: 'FAILED' }], owedCancels: [] });
  expect(job.locations.map(({ state }) => state).sort()).toEqual(['CANCELED', 'CANCELED', 'FAILED']);
  expect(idsIn(directory)).toEqual([]);
  expect(stagedIn(directory)).toEqual([]);
});

test('with retries it is started again from its checkpoints, in a new run of its workflow when it is time for one, and the rows are exact', async () => {
  const directory = sink();
  const handle = await steward.client.jobs.submit({
    jobId: 'retried',
    job: rateJob(
      directory,
      { rows: 9_000, taskGroups: 3, rowsPerSecond: 500 },
      { retryTimes: 2, checkpointIntervalMs: 100 },
    ),
  });
  await eventually('checkpoints of all', async () => {
    const { locations } = await steward.client.jobs.get('retried');
    return locations.every(({ checkpointId = 0 }) => checkpointId > 2);
  });
  const { execution, owner } = await steward.client.jobs.get('retried');
  await steward.fault('node-1', {
    target: 'run-task-group',
    match: '/retried/',
    times: 1,
    kind: { case: 'fail', value: { message: 'once' } },
  });
  expect(await handle.result()).toMatchObject({
    outcome: 'FINISHED',
    owner,
    restarts: 1,
    rowsIn: 9_000,
    rowsOut: 9_000,
  });
  expect(idsIn(directory)).toEqual(numbers(0, 9_000));
  const job = await steward.client.jobs.get('retried');
  expect(job.execution).toBeGreaterThan(execution);
  expect(job.reason).toContain('once');
  const firstRun = steward.temporal.client.workflow.getHandle('job/retried', handle.runId);
  expect((await firstRun.describe()).status.name).toBe('CONTINUED_AS_NEW');
}, 60_000);

test('a stream is cancelled with a savepoint, and goes on from it with no row lost or doubled', async () => {
  const directory = sink();
  const job = rateJob(
    directory,
    { rows: 0, rowsPerSecond: 1_000, taskGroups: 2 },
    { jobMode: 'STREAMING', checkpointIntervalMs: 100 },
  );
  await steward.client.jobs.submit({ jobId: 'stream', job });
  await eventually('published rows', () => idsIn(directory).length > 500);
  expect(await steward.client.jobs.cancel('stream', { savepoint: true })).toMatchObject({
    outcome: 'SAVEPOINT_DONE',
  });
  const before = idsIn(directory);
  expectGapless(before);
  await expect(steward.client.jobs.submit({ jobId: 'stream', job })).rejects.toMatchObject({
    details: 'JOB_TOMBSTONE',
  });
  await steward.client.jobs.submit({ jobId: 'stream', job, fromSavepoint: true });
  await eventually('more rows', () => idsIn(directory).length > before.length + 500);
  expect(await steward.client.jobs.cancel('stream')).toMatchObject({ outcome: 'CANCELED' });
  expectGapless(idsIn(directory));
  expect(stagedIn(directory)).toEqual([]);
});

test('a savepoint that cannot be made fails the job, naming why', async () => {
  const directory = sink();
  const job = rateJob(
    directory,
    { rows: 0, rowsPerSecond: 1_000 },
    { jobMode: 'STREAMING', checkpointIntervalMs: 60_000 },
  );
  const handle = await steward.client.jobs.submit({ jobId: 'no-savepoint', job });
  await running('no-savepoint');
  for (const node of ['node-1', 'node-2', 'node-3']) {
    await steward.fault(node, {
      target: 'cancel-task-group',
      match: '/no-savepoint/',
      times: 1,
      kind: { case: 'fail', value: { message: 'disk full' } },
    });
  }
  const end = await steward.client.jobs.cancel('no-savepoint', { savepoint: true });
  expect(end).toMatchObject({ outcome: 'FAILED', reason: expect.stringContaining('disk full') });
  await expect(handle.result()).rejects.toMatchObject({ code: 'FAILED' });
});

test('I3: a cancel that fails at its node is asked for again as another attempt, and the job waits for it', async () => {
  const job = rateJob(sink(), { rows: 100_000, rowsPerSecond: 1_000 });
  await steward.client.jobs.submit({ jobId: 'not-at-once', job });
  await running('not-at-once');
  const [at] = (await steward.client.jobs.get('not-at-once')).locations;
  await steward.fault(at!.nodeId!, {
    target: 'cancel-task-group',
    match: '/not-at-once/',
    times: 2,
    kind: { case: 'fail', value: { message: 'not now' } },
  });
  expect(await steward.client.jobs.cancel('not-at-once')).toMatchObject({ outcome: 'CANCELED' });
  await nothingActive('not-at-once');
  expect(await steward.client.jobs.get('not-at-once')).toMatchObject({ owedCancels: [] });
  const cancels = steward
    .effects(at!.nodeId!, 'cancel-task-group')
    .filter((id) => id.includes('/not-at-once/'));
  expect(cancels.map((id) => id.split('#')[1])).toEqual(['1', '2', '3']);
  const { activities } = await steward.events('job/not-at-once');
  expect(activities.filter((name) => name === 'endJob')).toHaveLength(1);
});

test('a cancel that is asked for while the job is being deployed ends it as well', async () => {
  const directory = sink();
  for (const node of ['node-1', 'node-2', 'node-3']) {
    await steward.fault(node, {
      target: 'deploy-task-group',
      match: '/slow-start/',
      kind: { case: 'delay', value: { seconds: 3n, nanos: 0 } },
    });
  }
  const job = rateJob(
    directory,
    { rows: 0, rowsPerSecond: 1_000, taskGroups: 3 },
    { jobMode: 'STREAMING', checkpointIntervalMs: 100 },
  );
  await steward.client.jobs.submit({ jobId: 'slow-start', job });
  expect(await steward.client.jobs.cancel('slow-start')).toMatchObject({ outcome: 'CANCELED' });
  await nothingActive('slow-start');
});

test('the Web UI shows the state that the job is in; a cancellation there ends it by way of its nodes', async () => {
  const directory = sink();
  const job = rateJob(
    directory,
    { rows: 0, rowsPerSecond: 1_000, taskGroups: 3 },
    { jobMode: 'STREAMING', checkpointIntervalMs: 100 },
  );
  const handle = await steward.client.jobs.submit({ jobId: 'by-ui', job });
  await running('by-ui');
  const shown = await eventually('it is shown as running', async () => {
    const { phase, currentDetails } = await steward.client.operations.get('job/by-ui');
    return phase === 'RUNNING' && currentDetails;
  });
  expect(shown).toMatch(/^Job by-ui is RUNNING\n/);
  await steward.temporal.client.workflow.getHandle('job/by-ui').cancel();
  await expect(handle.result()).rejects.toMatchObject({ code: 'CANCELED' });
  expect(await steward.client.jobs.get('by-ui')).toMatchObject({ state: 'CANCELED' });
  expect((await handle.describe()).status).toBe('CANCELED');
  await nothingActive('by-ui');
});

async function running(jobId: string): Promise<void> {
  await eventually(`${jobId} runs`, async () => (await steward.client.jobs.get(jobId)).state === 'RUNNING');
}

async function nothingActive(jobId: string): Promise<void> {
  for (const nodeId of ['node-1', 'node-2', 'node-3']) {
    const { ledgerId } = await steward.rpc(nodeId).node.getNodeInfo({});
    const { taskGroups } = await steward
      .rpc(nodeId)
      .inventory.listTaskGroups({ node: { nodeId, ledgerId }, jobId });
    expect(taskGroups.filter(({ state }) => state === 1)).toEqual([]);
  }
}

/** Each task group counts from its own first number on. */
function expectGapless(ids: readonly number[]): void {
  for (const first of [0, 1_000_000_000]) {
    const own = ids.filter((id) => id >= first && id < first + 1_000_000_000);
    expect(own).toEqual(numbers(first, own.length));
  }
}
