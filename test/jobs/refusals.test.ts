import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { eventually } from '../support/eventually.js';
import { temporaryDirectory } from '../support/guard.js';
import { rateJob } from '../support/jobs.js';
import { startProgram } from '../support/processes.js';
import { type Steward, startSteward } from '../support/steward.js';
import { idsIn, numbers } from './task-groups.js';

/** Nodes that do not take what they are given: full, busy, or without the capability. */
const PLACES: Record<string, number> = { 'node-1': 2, 'node-2': 3 };
const room = temporaryDirectory('jobs');
let steward: Steward;
let sinks = 0;
beforeAll(async () => {
  steward = await startSteward({ nodes: 2, nodeFlags: (id) => [`--max-task-groups=${PLACES[id]}`] });
  await steward.nodesAlive();
});
afterEach(() => steward.clearFaults());
afterAll(async () => {
  await steward?.stop();
  await room.remove();
});

const sink = () => `${room.path}/sink-${++sinks}`;
const stream = (taskGroups: number) =>
  rateJob(
    sink(),
    { rows: 0, rowsPerSecond: 100, taskGroups },
    { jobMode: 'STREAMING', checkpointIntervalMs: 200 },
  );

test('a job goes where places are; one for which there are none waits, says so, and goes on when there are', async () => {
  const { jobs, operations } = steward.client;
  await jobs.submit({ jobId: 'filling', job: stream(5) });
  await running('filling');
  const { locations } = await jobs.get('filling');
  const on = (nodeId: string) => locations.filter((one) => one.nodeId === nodeId).length;
  expect({ 'node-1': on('node-1'), 'node-2': on('node-2') }).toEqual(PLACES);

  const directory = sink();
  const waiting = rateJob(directory, { rows: 200, taskGroups: 2 });
  const handle = await jobs.submit({ jobId: 'waiting', job: waiting });
  const { blockers } = await eventually('the blocker', async () => {
    const found = await operations.get(handle.operationId);
    return found.blockers.length > 0 && found;
  });
  expect(blockers.join()).toContain(
    'not enough places for task groups: the job needs 2, the live nodes have 0 free of 5',
  );
  expect(await jobs.get('waiting')).toMatchObject({ state: 'CREATED', restarts: 0 });
  await jobs.cancel('filling');
  expect(await handle.result()).toMatchObject({ outcome: 'FINISHED', restarts: 0, rowsOut: 200 });
  expect(idsIn(directory)).toEqual(numbers(0, 200));
});

test('a node that is busy is asked again, at its pace, until it takes the task group', async () => {
  const directory = sink();
  for (const node of Object.keys(PLACES)) await busy(node, '/patient/', 5);
  const handle = await steward.client.jobs.submit({
    jobId: 'patient',
    job: rateJob(directory, { rows: 200, taskGroups: 2 }),
  });
  const { blockers } = await eventually('the blocker', async () => {
    const found = await steward.client.operations.get(handle.operationId);
    return found.blockers.length > 0 && found;
  });
  expect(blockers.join()).toMatch(/node-\d is busy: the node is busy/);
  expect(await handle.result()).toMatchObject({ outcome: 'FINISHED', restarts: 0, rowsOut: 200 });
  expect(idsIn(directory)).toEqual(numbers(0, 200));
});

test('a node that stays busy beyond the progress time-out fails the job, with what it said', async () => {
  for (const node of Object.keys(PLACES)) await busy(node, 'deploy-task-group/', 0);
  const job = rateJob(sink(), { rows: 200, taskGroups: 2 }, { progressTimeoutMs: 1_000 });
  const handle = await steward.client.jobs.submit({ jobId: 'impatient', job });
  await expect(handle.result()).rejects.toMatchObject({
    code: 'FAILED',
    message: expect.stringMatching(/not started within 1000 ms: node-\d is busy/),
  });
  const { state, pipelines, locations } = await steward.client.jobs.get('impatient');
  expect({ state, pipelines }).toMatchObject({ state: 'FAILED', pipelines: [{ state: 'FAILED' }] });
  expect(locations.every((one) => one.state === 'FAILED' || one.state === 'CANCELED')).toBe(true);
});

test('a node that can run task groups no more loses those it had: they go on elsewhere, and what it is asked anew is refused by name', async () => {
  const { jobs } = steward.client;
  const directory = sink();
  const handle = await jobs.submit({
    jobId: 'moved',
    job: rateJob(
      directory,
      { rows: 3_000, rowsPerSecond: 500, taskGroups: 2 },
      { retryTimes: 1, checkpointIntervalMs: 100 },
    ),
  });
  await eventually('published rows', () => idsIn(directory).length > 200);
  const url = new URL(steward.nodeUrl('node-2'));
  await steward.node('node-2').kill();
  await seenAlive('node-2');
  const without = await startProgram({
    name: 'node-2-without',
    program: 'src/node/main.ts',
    args: ['--id=node-2', `--listen=${url.host}`, `--data=${steward.nodeDirectory('node-2')}`],
    directory: room.path,
  });
  try {
    await eventually('it is started again', async () => (await jobs.get('moved')).restarts === 1);
    expect((await jobs.get('moved')).reason).toContain('lacks the capability task-groups');
    // Its heartbeats are over: nothing is placed there any more.
    await catalogHeartbeat('node-2', new Date(0));
    expect(await handle.result()).toMatchObject({ outcome: 'FINISHED', restarts: 1, rowsOut: 3_000 });
    expect(idsIn(directory)).toEqual(numbers(0, 3_000));

    await seenAlive('node-2');
    const refused = await jobs.submit({
      jobId: 'refused',
      job: rateJob(sink(), { rows: 10, taskGroups: 2 }),
    });
    await expect(refused.result()).rejects.toMatchObject({
      code: 'FAILED',
      message: expect.stringContaining('node-2 refused: UNSUPPORTED'),
    });
  } finally {
    await without.stop();
    await steward.node('node-2').restart();
  }
});

/** The catalog goes on taking the node for alive. */
async function seenAlive(nodeId: string): Promise<void> {
  await catalogHeartbeat(nodeId, new Date(Date.now() + 3_600_000));
}

async function catalogHeartbeat(nodeId: string, at: Date): Promise<void> {
  await steward.catalog
    .updateTable('node')
    .set({ last_heartbeat: at })
    .where('node_id', '=', nodeId)
    .execute();
}

async function busy(nodeId: string, match: string, times: number): Promise<void> {
  await steward.fault(nodeId, {
    target: 'Submit',
    match,
    times,
    kind: { case: 'busy', value: { nanos: 100_000_000 } },
  });
}

async function running(jobId: string): Promise<void> {
  await eventually(`${jobId} runs`, async () => (await steward.client.jobs.get(jobId)).state === 'RUNNING');
}
