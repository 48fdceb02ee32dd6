import { afterAll, beforeAll, expect, test } from 'vitest';
import { OperationState, Refusal_Code } from '../../src/rpc/gen/steward/worker/v1/operation_pb.js';
import { eventually } from '../support/eventually.js';
import { temporaryDirectory } from '../support/guard.js';
import { rateJob } from '../support/jobs.js';
import { type Steward, startSteward } from '../support/steward.js';
import { idsIn, numbers, partsOf, stagedIn } from './task-groups.js';

const room = temporaryDirectory('jobs');
let steward: Steward;
beforeAll(async () => {
  steward = await startSteward({ nodes: 1 });
  await steward.nodesAlive();
});
afterAll(async () => {
  await steward?.stop();
  await room.remove();
});

test('I9: a deployment that was delayed past the cancel of its job is refused, not started', async () => {
  const directory = `${room.path}/late`;
  const job = rateJob(
    directory,
    { rows: 0, rowsPerSecond: 100 },
    { jobMode: 'STREAMING', checkpointIntervalMs: 100 },
  );
  // Nothing of the deployment reaches the node before the job is cancelled.
  await steward.fault('node-1', {
    target: 'Submit',
    match: 'deploy-task-group/',
    kind: { case: 'dropRequest', value: true },
  });
  await steward.client.jobs.submit({ jobId: 'late', job });
  await eventually(
    'it is being deployed',
    async () => (await steward.client.jobs.get('late')).state === 'SCHEDULED',
  );
  const { owner, execution } = await steward.client.jobs.cancel('late');
  await steward.clearFaults();

  const { operations, inventory, node } = steward.rpc('node-1');
  const { ledgerId } = await node.getNodeInfo({});
  const location = { catalogId: steward.catalogId, jobId: 'late', pipeline: 1, taskGroup: 1 };
  const { statuses } = await operations.submit({
    node: { nodeId: 'node-1', ledgerId },
    operations: [
      {
        operationId: `deploy-task-group/${steward.catalogId}/late/1/1/node-1@${execution}#1`,
        epoch: BigInt(execution),
        request: {
          case: 'deployTaskGroup',
          value: {
            taskGroup: location,
            owner,
            source: { kind: { case: 'rate', value: { first: 0n, rows: 0n, rowsPerSecond: 100 } } },
            sink: { directory, format: 'csv' },
            parallelism: 1,
          },
        },
      },
    ],
  });
  expect(statuses).toMatchObject([
    { state: OperationState.REFUSED, refusal: { code: Refusal_Code.STALE_EPOCH } },
  ]);
  const { taskGroups } = await inventory.listTaskGroups({
    node: { nodeId: 'node-1', ledgerId },
    jobId: 'late',
  });
  expect(taskGroups).toEqual([]);
  expect(idsIn(directory)).toEqual([]);
});

test('a deployment that is asked for again after checkpoints were committed is the same request, and joins', async () => {
  const directory = `${room.path}/again`;
  // Every reply is lost until the task group has committed: what is asked again must not have changed with that.
  await steward.fault('node-1', {
    target: 'Submit',
    match: 'deploy-task-group/',
    kind: { case: 'dropReply', value: true },
  });
  const handle = await steward.client.jobs.submit({
    jobId: 'again',
    job: rateJob(directory, { rows: 1_000, rowsPerSecond: 500 }, { checkpointIntervalMs: 50 }),
  });
  await eventually('published rows', () => idsIn(directory).length > 100);
  expect(await steward.client.jobs.get('again')).toMatchObject({ state: 'SCHEDULED' });
  await steward.clearFaults();
  expect(await handle.result()).toMatchObject({ outcome: 'FINISHED', restarts: 0, rowsOut: 1_000 });
});

test('a node that died before it published a checkpoint of a savepoint publishes it when it returns, after the purge as well', async () => {
  const directory = `${room.path}/saved`;
  const job = rateJob(
    directory,
    { rows: 0, rowsPerSecond: 500 },
    { jobMode: 'STREAMING', checkpointIntervalMs: 100, retryTimes: 1, stateCleanupDelayMs: 0 },
  );
  const { jobs } = steward.client;
  await jobs.submit({ jobId: 'saved', job });
  await eventually('published rows', () => idsIn(directory).length > 100);
  await steward.fault('node-1', {
    target: 'publish-checkpoint',
    match: '/saved/',
    kind: { case: 'delay', value: { seconds: 600n, nanos: 0 } },
  });
  const published = await eventually('a checkpoint is committed and not published', async () => {
    const [location] = (await jobs.get('saved')).locations;
    return (location?.checkpointId ?? 0) > partsOf(directory).length && idsIn(directory);
  });
  await steward.node('node-1').kill();
  await eventually('it waits for another node', async () => {
    const { state, restarts } = await jobs.get('saved');
    return state === 'CREATED' && restarts === 1;
  });
  expect(await jobs.cancel('saved', { savepoint: true })).toMatchObject({ outcome: 'SAVEPOINT_DONE' });
  await eventually('it is purged', async () =>
    jobs.get('saved').then(
      () => false,
      ({ code }: { code?: string }) => code === 'NOT_FOUND',
    ),
  );

  await expect(jobs.get('saved')).rejects.toThrow(/purged; its savepoint of .* stays/);
  await steward.node('node-1').restart();
  await eventually('its parts are published', () => idsIn(directory).length > published.length);
  await eventually('nothing is staged', () => stagedIn(directory).length === 0);
  await eventually('its end is taken note of, although its job is gone', async () => {
    const { inventory, node } = steward.rpc('node-1');
    const { ledgerId } = await node.getNodeInfo({});
    const { taskGroups } = await inventory.listTaskGroups({
      node: { nodeId: 'node-1', ledgerId },
      jobId: 'saved',
    });
    return taskGroups.length === 1 && taskGroups[0]!.acknowledged;
  });
  const saved = idsIn(directory);
  expect(saved).toEqual(numbers(0, saved.length));
  await steward.nodesAlive();
  await jobs.submit({ jobId: 'saved', job, fromSavepoint: true });
  await eventually('it goes on', () => idsIn(directory).length > saved.length + 100);
  expect(await jobs.cancel('saved')).toMatchObject({ outcome: 'CANCELED' });
  const all = idsIn(directory);
  expect(all).toEqual(numbers(0, all.length));
});
