import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { eventually } from '../support/eventually.js';
import { temporaryDirectory } from '../support/guard.js';
import { rateJob } from '../support/jobs.js';
import { type Steward, startSteward } from '../support/steward.js';
import { idsIn, numbers, stagedIn } from './task-groups.js';

const NODES = ['node-1', 'node-2', 'node-3'];
const room = temporaryDirectory('jobs');
let steward: Steward;
let sinks = 0;
beforeAll(async () => {
  steward = await startSteward();
  await steward.nodesAlive();
});
afterEach(async () => {
  for (const node of NODES) if (!steward.node(node).running) await steward.node(node).restart();
  await steward.nodesAlive();
  await steward.clearFaults();
});
afterAll(async () => {
  await steward?.stop();
  await room.remove();
});

const sink = () => `${room.path}/sink-${++sinks}`;

test.each([
  [
    'before the node heard of it',
    { target: 'Submit', match: 'deploy-task-group', kind: { case: 'dropRequest', value: true } },
  ],
  [
    'while the node deploys',
    { target: 'deploy-task-group', kind: { case: 'delay', value: { seconds: 2n, nanos: 0 } } },
  ],
  [
    'after the node deployed, its reply lost',
    { target: 'Submit', match: 'deploy-task-group', kind: { case: 'dropReply', value: true } },
  ],
  [
    'after the node deployed twice at the same time',
    { target: 'Submit', match: 'deploy-task-group', kind: { case: 'duplicate', value: true } },
  ],
] as const)(
  'worker and coordinator killed %s: one deployment, never FAILED, every row once',
  async (point, fault) => {
    const jobId = `killed-${point.replaceAll(/[^a-z]+/g, '-')}`;
    const directory = sink();
    const duplicate = fault.kind.case === 'duplicate';
    for (const node of NODES)
      await steward.fault(node, {
        ...fault,
        ...('match' in fault && { match: `/${jobId}/` }),
        times: duplicate ? 0 : 2,
      });
    const handle = await steward.client.jobs.submit({
      jobId,
      job: rateJob(
        directory,
        { rows: 3_000, taskGroups: 3, rowsPerSecond: 500 },
        { checkpointIntervalMs: 200 },
      ),
    });
    await Promise.all([steward.worker.restart(), steward.coordinator.restart()]);
    const seen = new Set<string>();
    const ended = handle.result();
    const watch = eventually('the end', async () => {
      const { state } = await steward.client.jobs.get(jobId);
      seen.add(state);
      return state === 'FINISHED' || state === 'FAILED';
    });
    expect(await ended).toMatchObject({ outcome: 'FINISHED', rowsIn: 3_000, rowsOut: 3_000, restarts: 0 });
    await watch;
    expect([...seen]).not.toContain('FAILED');
    expect(idsIn(directory)).toEqual(numbers(0, 3_000));
    expect(deployed(jobId)).toHaveLength(3);
  },
);

test('worker and coordinator killed after the nodes deployed and before the catalog recorded it: one deployment, every row once', async () => {
  const directory = sink();
  for (const node of NODES) {
    await steward.fault(node, {
      target: 'deploy-task-group',
      match: '/killed-unrecorded/',
      kind: { case: 'delay', value: { seconds: 3n, nanos: 0 } },
    });
    // They stand still until the catalog has heard of them.
    await steward.fault(node, {
      target: 'run-task-group',
      match: '/killed-unrecorded/',
      kind: { case: 'delay', value: { seconds: 600n, nanos: 0 } },
    });
  }
  const handle = await steward.client.jobs.submit({
    jobId: 'killed-unrecorded',
    job: rateJob(
      directory,
      { rows: 3_000, taskGroups: 3, rowsPerSecond: 500 },
      { progressTimeoutMs: 600_000 },
    ),
  });
  await eventually(
    'its nodes are asked',
    async () => (await steward.client.jobs.get('killed-unrecorded')).state === 'SCHEDULED',
  );
  await steward.catalog.transaction().execute(async (transaction) => {
    // Nothing of the job can be recorded from here on.
    await transaction
      .selectFrom('job')
      .select('state')
      .where('job_id', '=', 'killed-unrecorded')
      .forUpdate()
      .executeTakeFirstOrThrow();
    await eventually('all have deployed', () => deployed('killed-unrecorded').length === 3);
    await Promise.all([steward.worker.kill(), steward.coordinator.kill()]);
  });
  await Promise.all([steward.worker.restart(), steward.coordinator.restart()]);
  await running('killed-unrecorded');
  await steward.clearFaults();
  expect(await handle.result()).toMatchObject({ outcome: 'FINISHED', restarts: 0, rowsOut: 3_000 });
  expect(idsIn(directory)).toEqual(numbers(0, 3_000));
  expect(deployed('killed-unrecorded')).toHaveLength(3);
});

test('worker and coordinator killed while a checkpoint is being committed and while an end is being told: nothing twice', async () => {
  const directory = sink();
  const handle = await steward.client.jobs.submit({
    jobId: 'killed-commits',
    job: rateJob(directory, { rows: 4_000, taskGroups: 2, rowsPerSecond: 500 }, { checkpointIntervalMs: 50 }),
  });
  const ended = handle.result();
  for (let kill = 0; kill < 2; kill += 1) {
    await eventually('another checkpoint', async () => idsIn(directory).length > 200 * (kill + 1));
    await Promise.all([steward.coordinator.restart(), steward.worker.restart()]);
  }
  expect(await ended).toMatchObject({ outcome: 'FINISHED', rowsOut: 4_000, restarts: 0 });
  expect(idsIn(directory)).toEqual(numbers(0, 4_000));
});

test('a node SIGKILLed, without checkpoint and without retries: FAILED, every pipeline and task group terminal', async () => {
  const directory = sink();
  const handle = await steward.client.jobs.submit({
    jobId: 'node-lost',
    job: rateJob(directory, { rows: 100_000, taskGroups: 3, rowsPerSecond: 500 }),
  });
  await running('node-lost');
  // The others are still at it when the lost one is given up.
  await steward.fault('node-1', {
    target: 'cancel-task-group',
    times: 1,
    kind: { case: 'delay', value: { seconds: 1n, nanos: 0 } },
  });
  await steward.node('node-2').kill();
  await expect(handle.result()).rejects.toMatchObject({
    code: 'FAILED',
    message: expect.stringContaining('node-2'),
  });
  const job = await steward.client.jobs.get('node-lost');
  expect(job).toMatchObject({ state: 'FAILED', pipelines: [{ state: 'FAILED' }] });
  expect(job.locations.map(({ state }) => state).sort()).toEqual(['CANCELED', 'CANCELED', 'FAILED']);
  // The cancel stays owed to the node that is away, and is delivered when it returns.
  expect(job.owedCancels).toMatchObject([{ nodeId: 'node-2' }]);
  const { activities } = await steward.events('job/node-lost');
  expect(activities.filter((name) => name === 'endJob')).toHaveLength(1);
  await steward.node('node-2').restart();
  await steward.nodesAlive();
  await eventually(
    'the debt is paid',
    async () => (await (await steward.client.jobs.sweep()).result()).cancels.owed === 0,
  );
  expect(idsIn(directory)).toEqual([]);
});

test('a node SIGKILLed, with retries: restarted from the checkpoint elsewhere, rows exact', async () => {
  const directory = sink();
  const handle = await steward.client.jobs.submit({
    jobId: 'node-replaced',
    job: rateJob(
      directory,
      { rows: 9_000, taskGroups: 3, rowsPerSecond: 500 },
      { retryTimes: 3, checkpointIntervalMs: 100 },
    ),
  });
  await eventually('published rows', () => idsIn(directory).length > 900);
  await steward.node('node-3').kill();
  expect(await handle.result()).toMatchObject({
    outcome: 'FINISHED',
    restarts: 1,
    rowsIn: 9_000,
    rowsOut: 9_000,
  });
  expect(idsIn(directory)).toEqual(numbers(0, 9_000));
  const { locations } = await steward.client.jobs.get('node-replaced');
  expect(locations.map(({ nodeId }) => nodeId)).not.toContain('node-3');
}, 60_000);

test('a pipeline that hangs is found by its missing progress, cancelled and started again', async () => {
  const directory = sink();
  const handle = await steward.client.jobs.submit({
    jobId: 'hanging',
    job: rateJob(
      directory,
      { rows: 4_000, taskGroups: 2, rowsPerSecond: 500 },
      { retryTimes: 1, progressTimeoutMs: 5_000, checkpointIntervalMs: 100 },
    ),
  });
  await eventually('published rows', () => idsIn(directory).length > 200);
  const [victim] = (await steward.client.jobs.get('hanging')).locations;
  await steward.fault(victim!.nodeId!, {
    target: 'run-task-group',
    match: '/hanging/1/1',
    times: 1,
    kind: { case: 'delay', value: { seconds: 600n, nanos: 0 } },
  });
  expect(await handle.result()).toMatchObject({ outcome: 'FINISHED', restarts: 1, rowsOut: 4_000 });
  expect(idsIn(directory)).toEqual(numbers(0, 4_000));
  expect((await steward.client.jobs.get('hanging')).reason).toContain('no progress');
}, 60_000);

test('I9: a paused node that comes back finds its deployments fenced off and stops them', async () => {
  const directory = sink();
  const handle = await steward.client.jobs.submit({
    jobId: 'paused',
    job: rateJob(
      directory,
      { rows: 12_000, taskGroups: 3, rowsPerSecond: 500 },
      { retryTimes: 2, checkpointIntervalMs: 100 },
    ),
  });
  await eventually('published rows', () => idsIn(directory).length > 600);
  await steward.node('node-1').kill('SIGSTOP');
  await eventually(
    'a new execution',
    async () => (await steward.client.jobs.get('paused')).restarts === 1,
    30_000,
  );
  await running('paused');
  await steward.node('node-1').kill('SIGCONT');
  await eventually('nothing of it runs there', async () => {
    const { ledgerId } = await steward.rpc('node-1').node.getNodeInfo({});
    const { taskGroups } = await steward
      .rpc('node-1')
      .inventory.listTaskGroups({ node: { nodeId: 'node-1', ledgerId }, jobId: 'paused' });
    return taskGroups.every(({ state }) => state !== 1);
  });
  expect(await handle.result()).toMatchObject({ outcome: 'FINISHED', restarts: 1, rowsOut: 12_000 });
  expect(idsIn(directory)).toEqual(numbers(0, 12_000));
  expect(stagedIn(directory)).toEqual([]);
}, 90_000);

test('a job that found its workflow gone goes on with its owner and execution, undisturbed', async () => {
  const directory = sink();
  await steward.client.jobs.submit({
    jobId: 'terminated',
    job: rateJob(
      directory,
      { rows: 8_000, taskGroups: 2, rowsPerSecond: 500 },
      { checkpointIntervalMs: 100 },
    ),
  });
  await running('terminated');
  const { owner, execution } = await steward.client.jobs.get('terminated');
  await steward.temporal.client.workflow.getHandle('job/terminated').terminate('by hand');
  await eventually('the sweep drives it on', async () =>
    (await (await steward.client.jobs.sweep()).result()).drivenOn.includes('job/terminated'),
  );
  const handle = await steward.client.jobs.handle('terminated');
  expect(await handle.result()).toMatchObject({ outcome: 'FINISHED', owner, execution, restarts: 0 });
  expect(idsIn(directory)).toEqual(numbers(0, 8_000));
});

/** Deployments that nodes really made, by their logs. */
function deployed(jobId: string): string[] {
  const all = NODES.flatMap((node) => steward.effects(node, 'deploy-task-group'));
  return all.filter((id) => id.includes(`/${jobId}/`));
}

async function running(jobId: string): Promise<void> {
  await eventually(`${jobId} runs`, async () => (await steward.client.jobs.get(jobId)).state === 'RUNNING');
}
