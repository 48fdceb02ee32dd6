import { randomUUID } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import { createClient } from '@connectrpc/connect';
import { createConnectTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { nextEpoch } from '../../src/catalog/catalog.js';
import { claimJob } from '../../src/catalog/jobs/claim.js';
import { judgeJob, oweCancels, settleEnding, stopJob } from '../../src/catalog/jobs/ending.js';
import { type JobKey, lockJob, readJob } from '../../src/catalog/jobs/rows.js';
import { writeSavepoint } from '../../src/catalog/jobs/savepoints.js';
import { scheduleJob, settleDeployment } from '../../src/catalog/jobs/scheduling.js';
import { recordNews } from '../../src/catalog/jobs/task-groups.js';
import { purgeJob } from '../../src/catalog/jobs/tombstones.js';
import { registerNode } from '../../src/catalog/nodes.js';
import { createLogger } from '../../src/log.js';
import {
  CommitCheckpointRequestSchema,
  NotifyTaskStatusRequestSchema,
  TaskGroupService,
} from '../../src/rpc/gen/steward/coordinator/v1/task_groups_pb.js';
import { rateJob } from '../support/jobs.js';
import { type Steward, startSteward } from '../support/steward.js';

/** A coordinator as a node calls it, and jobs that no workflow drives: their workflow is gone. */
const NODE = 'node-9';
const LEDGER = randomUUID();
const log = createLogger('test');
let steward: Steward;
let session: Http2SessionManager;
let coordinator: ReturnType<typeof createClient<typeof TaskGroupService>>;
beforeAll(async () => {
  steward = await startSteward({ nodes: 0 });
  session = new Http2SessionManager(steward.coordinatorUrl);
  coordinator = createClient(
    TaskGroupService,
    createConnectTransport({ baseUrl: steward.coordinatorUrl, httpVersion: '2', sessionManager: session }),
  );
  await registerNode(
    steward.catalog,
    {
      nodeId: NODE,
      ledgerId: LEDGER,
      bootId: randomUUID(),
      address: 'http://127.0.0.1:1',
      capabilities: ['task-groups'],
    },
    60_000,
  );
  // So that also the first job has an execution below its own.
  await steward.catalog.transaction().execute(nextEpoch);
});
afterAll(async () => {
  session?.abort();
  await steward?.stop();
});

const FINISHED = 2;
const FAILED = 3;

test('I6: the end of a task group is recorded once; again it is acknowledged, and another end changes nothing', async () => {
  const job = await runningJob('ends');
  expect(await job.end(FINISHED)).toEqual({ stale: false });
  expect(await job.end(FINISHED)).toEqual({ stale: false });
  expect(await job.end(FAILED)).toEqual({ stale: true });
  expect(await job.state()).toMatchObject({ state: 'RUNNING', locations: [{ state: 'FINISHED' }] });
});

test('I6: an end of another execution, owner, node or catalog, or of a job that is purged, is a no-op', async () => {
  const job = await runningJob('strangers');
  expect(await job.end(FAILED, { execution: job.execution - 1 })).toEqual({ stale: true });
  expect(await job.end(FAILED, { execution: job.execution + 1 })).toEqual({ stale: true });
  expect(await job.end(FAILED, { owner: randomUUID() })).toEqual({ stale: true });
  expect(await job.end(FAILED, { nodeId: 'node-8' })).toEqual({ stale: true });
  expect(await job.end(FAILED, { catalogId: randomUUID() })).toEqual({ stale: true });
  expect(await job.state()).toMatchObject({ state: 'RUNNING', locations: [{ state: 'RUNNING' }] });
  await job.end(FINISHED);
  await judgeJob(steward.catalog, job, job.execution, log);
  expect(await purgeJob(steward.catalog, job)).toMatchObject({ kind: 'PURGED' });
  expect(await job.end(FINISHED)).toEqual({ stale: true });
  expect(await job.commit(1)).toEqual({ stale: true });
});

test('I6: a checkpoint commits in one row; again it is answered as the first time', async () => {
  const job = await runningJob('commits');
  expect(await job.commit(1)).toEqual({ stale: false });
  expect(await job.commit(1)).toEqual({ stale: false });
  expect(await job.commit(2)).toEqual({ stale: false });
  expect(await job.checkpoints()).toEqual([1, 2]);
});

test('I6: a checkpoint from another node, for a task group that is over, or of an older execution, is a no-op', async () => {
  const job = await runningJob('late-commits', 1);
  expect(await job.commit(1, { nodeId: 'node-8' })).toEqual({ stale: true });
  expect(await job.commit(1)).toEqual({ stale: false });
  await job.end(FAILED);
  expect(await job.commit(2)).toEqual({ stale: true });
  await judgeJob(steward.catalog, job, job.execution, log);
  await oweCancels(steward.catalog, job, log);
  expect(await settleEnding(steward.catalog, job, log)).toMatchObject({ state: 'CREATED', restarts: 1 });
  expect(await job.commit(2)).toEqual({ stale: true });
  // What is on record is the job's, whoever asks: its parts must not be thrown away.
  expect(await job.commit(1)).toEqual({ stale: false });
  // Also once the new execution runs on the same node.
  const execution = await start(job);
  expect(execution).toBeGreaterThan(job.execution);
  expect(await job.commit(2)).toEqual({ stale: true });
  expect(await job.end(FINISHED)).toEqual({ stale: true });
  expect(await job.state()).toMatchObject({ state: 'RUNNING', locations: [{ state: 'RUNNING' }] });
  expect(await job.checkpoints()).toEqual([1]);
  // And when that has committed a checkpoint of the same number: the parts are not those of the older one.
  expect(await job.commit(2, { execution })).toEqual({ stale: false });
  expect(await job.commit(2)).toEqual({ stale: true });
});

test('a checkpoint under the number of one that is committed is refused, not overwritten', async () => {
  const job = await runningJob('numbers');
  expect(await job.commit(5)).toEqual({ stale: false });
  expect(await job.commit(4)).toEqual({ stale: true });
  expect(await job.checkpoints()).toEqual([5]);
});

test('a checkpoint that a savepoint holds is on record after the purge as well, and no other is', async () => {
  const job = await runningJob('saved');
  await job.commit(1);
  await job.commit(2);
  await stopJob(steward.catalog, job, 'DOING_SAVEPOINT', log);
  await oweCancels(steward.catalog, job, log);
  await steward.catalog.transaction().execute(async (transaction) => {
    await writeSavepoint(transaction, (await lockJob(transaction, job))!);
    await transaction
      .updateTable('job')
      .set({ state: 'SAVEPOINT_DONE' })
      .where('owner', '=', job.owner)
      .execute();
  });
  expect(await purgeJob(steward.catalog, job)).toMatchObject({ kind: 'PURGED' });
  expect(await job.commit(2)).toEqual({ stale: false });
  expect(await job.commit(1)).toEqual({ stale: true });
  expect(await job.commit(3)).toEqual({ stale: true });
  expect(await job.commit(2, { execution: job.execution - 1 })).toEqual({ stale: true });
  expect(await job.commit(2, { owner: randomUUID() })).toEqual({ stale: true });
  expect(await job.checkpoints()).toEqual([]);
});

test('I1: what a node is still to be told to end outlives the purge of its job', async () => {
  const job = await runningJob('owed');
  await stopJob(steward.catalog, job, 'CANCELING', log);
  await oweCancels(steward.catalog, job, log);
  // As when its node was given up.
  await steward.catalog
    .updateTable('job')
    .set({ state: 'CANCELED' })
    .where('owner', '=', job.owner)
    .execute();
  expect(await purgeJob(steward.catalog, job)).toMatchObject({ kind: 'PURGED' });
  const owed = await steward.catalog
    .selectFrom('owed_cancel')
    .select(['node_id', 'execution'])
    .where('owner', '=', job.owner)
    .execute();
  expect(owed).toEqual([{ node_id: NODE, execution: job.execution }]);
});

test('an end whose workflow is gone is recorded and acknowledged', async () => {
  const job = await runningJob('no-workflow');
  expect(await job.end(FAILED)).toEqual({ stale: false });
  expect(await job.state()).toMatchObject({ locations: [{ state: 'FAILED', error: 'told so' }] });
});

test.each([
  ['an owner that is no UUID', { owner: 'me' }, 'owner'],
  ['an execution of 0', { execution: 0 }, 'execution'],
  ['a state that is no end', { state: 1 }, 'state'],
])('I10: %s is INVALID_ARGUMENT and names the field', async (_what, changes, field) => {
  const job = await runningJob(`bad-${field}`);
  await expect(job.end((changes as Changes).state ?? FAILED, changes)).rejects.toMatchObject({
    code: 3,
    message: expect.stringContaining(field),
  });
});

test('I10: a part outside of its sink is refused', async () => {
  const job = await runningJob('escape');
  await expect(job.commit(1, { part: '../../etc/passwd' })).rejects.toMatchObject({
    code: 3,
    message: expect.stringContaining('relative'),
  });
  expect(await job.checkpoints()).toEqual([]);
});

interface Changes {
  state?: number;
  owner?: string;
  execution?: number;
  nodeId?: string;
  catalogId?: string;
}

/** Schedules and deploys it on the one node; answers its execution. */
async function start(key: JobKey): Promise<number> {
  const { catalog } = steward;
  await scheduleJob(catalog, key, 600_000, log);
  const { execution } = (await readJob(catalog, key))!;
  await recordNews(catalog, key, execution, [{ pipeline: 1, taskGroup: 1, kind: 'STARTED' }], log);
  await settleDeployment(catalog, key, execution, log);
  return execution;
}

async function runningJob(jobId: string, retryTimes = 0) {
  const key = { jobId, owner: randomUUID() };
  const { catalog, catalogId } = steward;
  const input = {
    ...key,
    job: rateJob('/sink', { rows: 10 }, { retryTimes }),
    fromSavepoint: false,
    actor: 'tester',
  };
  await claimJob(catalog, input, { resume: false }, log);
  const execution = await start(key);
  const reporter = (changes: Changes) => ({ nodeId: changes.nodeId ?? NODE, ledgerId: LEDGER });
  const location = (changes: Changes) => ({
    catalogId: changes.catalogId ?? catalogId,
    jobId,
    pipeline: 1,
    taskGroup: 1,
  });
  return {
    ...key,
    execution,
    async end(state: number, changes: Changes = {}) {
      const { stale } = await coordinator.notifyTaskStatus(
        create(NotifyTaskStatusRequestSchema, {
          ...reporter(changes),
          taskGroup: {
            taskGroup: location(changes),
            owner: changes.owner ?? key.owner,
            execution: BigInt(changes.execution ?? execution),
            state,
            rowsIn: 10n,
            rowsOut: 10n,
            error: state === FAILED ? 'told so' : '',
          },
        }),
      );
      return { stale };
    },
    async commit(checkpointId: number, changes: Changes & { part?: string } = {}) {
      const part = changes.part ?? `part-${checkpointId}.csv`;
      const { stale } = await coordinator.commitCheckpoint(
        create(CommitCheckpointRequestSchema, {
          ...reporter(changes),
          taskGroup: location(changes),
          owner: changes.owner ?? key.owner,
          execution: BigInt(changes.execution ?? execution),
          checkpoint: {
            checkpointId: BigInt(checkpointId),
            position: new Uint8Array([1, 2]),
            parts: [{ staged: `.staging/${part}`, published: part, rows: 1n, bytes: 9n }],
            rowsIn: 1n,
            rowsOut: 1n,
          },
        }),
      );
      return { stale };
    },
    state: () => steward.client.jobs.get(jobId),
    async checkpoints() {
      const rows = await catalog
        .selectFrom('checkpoint')
        .select('checkpoint_id')
        .where('owner', '=', key.owner)
        .orderBy('checkpoint_id')
        .execute();
      return rows.map(({ checkpoint_id }) => checkpoint_id);
    },
  };
}
