import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { sql } from 'kysely';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually } from '../support/eventually.js';
import { rateJob } from '../support/jobs.js';
import { type Steward, startSteward } from '../support/steward.js';

/** Jobs that no node takes, so that they end exactly when they are told to. */
let steward: Steward;
beforeAll(async () => {
  steward = await startSteward({ nodes: 0 });
});
afterAll(() => steward.stop());

const job = (stateCleanupDelayMs: number) => rateJob('/nowhere', { rows: 10 }, { stateCleanupDelayMs });

test('I8: a job that finds no node that runs task groups says so, and can be cancelled', async () => {
  const handle = await steward.client.jobs.submit({ jobId: 'lonely', job: job(60_000) });
  const { blockers } = await eventually('the blocker', async () => {
    const found = await steward.client.operations.get(handle.operationId);
    return found.blockers.length > 0 && found;
  });
  expect(blockers.join()).toContain('no live node runs task groups');
  expect(await steward.client.jobs.list({ running: true })).toMatchObject([
    { jobId: 'lonely', state: 'CREATED' },
  ]);
  expect(await steward.client.jobs.cancel('lonely')).toMatchObject({ outcome: 'CANCELED', rowsIn: 0 });
  await expect(handle.result()).rejects.toMatchObject({ code: 'CANCELED' });
});

test('a tombstone is hidden from running jobs, shown by show, and refuses its id with the time at which it is free', async () => {
  const { jobs } = steward.client;
  await ended('kept', 60_000);
  expect((await jobs.list({ running: true })).map(({ jobId }) => jobId)).not.toContain('kept');
  expect((await jobs.list()).map(({ jobId }) => jobId)).toContain('kept');
  const shown = await jobs.get('kept');
  expect(shown).toMatchObject({
    state: 'CANCELED',
    pipelines: [{ state: 'CANCELED' }],
    locations: [{ state: 'CANCELED' }],
  });
  expect(Date.parse(shown.freeAt!) - Date.parse(shown.endedAt!)).toBe(60_000);
  await expect(jobs.submit({ jobId: 'kept', job: job(60_000) })).rejects.toMatchObject({
    code: 'REJECTED',
    details: 'JOB_TOMBSTONE',
    message: expect.stringContaining(shown.freeAt!),
  });
  expect((await jobs.get('kept')).owner).toBe(shown.owner);
});

test('a job id in use is refused with its holder, also when the workflow of that job is gone', async () => {
  const { jobs } = steward.client;
  await jobs.submit({ jobId: 'busy', job: job(0) });
  await expect(jobs.submit({ jobId: 'busy', job: job(0) })).rejects.toMatchObject({
    code: 'HELD',
    holder: { workflowId: 'job/busy', workflowType: 'runJob', actor: 'tester' },
  });
  const { owner } = await jobs.get('busy');
  await workflow('job/busy').terminate('by hand');
  await expect(jobs.submit({ jobId: 'busy', job: job(0) })).rejects.toMatchObject({
    code: 'HELD',
    holder: { workflowType: 'runJob', firstRunId: owner },
  });
  await expect(jobs.cancel('busy')).rejects.toMatchObject({
    code: 'NOT_FOUND',
    message: expect.stringContaining('sweep run'),
  });
  await aged('busy');
  const { drivenOn } = await (await jobs.sweep()).result();
  expect(drivenOn).toEqual(['job/busy']);
  expect(await jobs.cancel('busy')).toMatchObject({ outcome: 'CANCELED', owner });
});

test('I7: a purge takes the rows of its owner and leaves those of a newer one', async () => {
  const first = await ended('taken', 2_000);
  await plantSavepoint('taken', first);
  const { jobs } = steward.client;
  await expect(jobs.submit({ jobId: 'taken', job: job(0) })).rejects.toMatchObject({
    details: 'JOB_TOMBSTONE',
  });
  await jobs.submit({ jobId: 'taken', job: job(60_000), fromSavepoint: true });
  const second = await jobs.get('taken');
  expect(second).toMatchObject({ state: 'CREATED', restored: true });
  expect(second.owner).not.toBe(first);
  expect(await purged('taken', first)).toEqual({ outcome: 'PURGED' });
  expect(await rowsOf(first)).toBe(0);
  expect(await rowsOf(second.owner)).toBeGreaterThan(3);
  expect((await jobs.get('taken')).owner).toBe(second.owner);
  await jobs.cancel('taken');
});

test('without a savepoint there is nothing to start from, and one of other task groups does not fit', async () => {
  const { jobs } = steward.client;
  await expect(jobs.submit({ jobId: 'fresh', job: job(0), fromSavepoint: true })).rejects.toMatchObject({
    code: 'NOT_FOUND',
    details: 'SAVEPOINT_NOT_FOUND',
  });
  const owner = await ended('other-shape', 0);
  await plantSavepoint('other-shape', owner);
  const wider = rateJob('/nowhere', { rows: 10, taskGroups: 2 });
  await expect(jobs.submit({ jobId: 'other-shape', job: wider, fromSavepoint: true })).rejects.toMatchObject({
    code: 'REJECTED',
    details: 'SAVEPOINT_MISMATCH',
  });
});

test('a delay of 0 takes the same path: a purge workflow, a timer, nothing left', async () => {
  const owner = await ended('at-once', 0);
  expect(await purged('at-once', owner)).toEqual({ outcome: 'PURGED' });
  const { events } = await workflow(`job-cleanup/at-once/${owner}`).fetchHistory();
  expect(events?.filter(({ timerStartedEventAttributes: timer }) => timer)).toHaveLength(1);
  expect(await rowsOf(owner)).toBe(0);
  await expect(steward.client.jobs.get('at-once')).rejects.toMatchObject({ code: 'NOT_FOUND' });
});

test('worker and coordinator killed twice during the delay: the purge still happens, once', async () => {
  const owner = await ended('restarted', 4_000);
  for (let kill = 0; kill < 2; kill += 1) {
    await Promise.all([steward.worker.restart(), steward.coordinator.restart()]);
  }
  expect(await rowsOf(owner)).toBeGreaterThan(3);
  expect(await purged('restarted', owner)).toEqual({ outcome: 'PURGED' });
  expect(await rowsOf(owner)).toBe(0);
  expect(logged('job state purged', owner)).toBe(1);
});

test('a purge that meets a locked row is logged and tried again until it is done', async () => {
  const owner = await ended('locked', 500);
  await steward.catalog.transaction().execute(async (transaction) => {
    await transaction
      .selectFrom('job')
      .select('state')
      .where('owner', '=', owner)
      .forUpdate()
      .executeTakeFirstOrThrow();
    await eventually(
      'a failed purge in the log',
      () => logged('job state not purged: it is tried again', owner) > 0,
    );
    expect(await rowsOf(owner)).toBeGreaterThan(3);
  });
  expect(await purged('locked', owner)).toEqual({ outcome: 'PURGED' });
  expect(await rowsOf(owner)).toBe(0);
});

test('I8: a tombstone whose purge was terminated by hand is found by the sweep', async () => {
  const owner = await ended('unpurged', 500);
  await workflow(`job-cleanup/unpurged/${owner}`).terminate('by hand');
  await eventually('it is overdue', async () => {
    const { purges } = await (await steward.client.jobs.sweep()).result();
    return purges.includes(`job-cleanup/unpurged/${owner}`);
  });
  await eventually('it is purged', async () => (await rowsOf(owner)) === 0);
});

test('a purge that is asked for a job which is not over touches nothing', async () => {
  const { jobs } = steward.client;
  await jobs.submit({ jobId: 'alive', job: job(0) });
  const { owner } = await jobs.get('alive');
  const started = await steward.temporal.client.workflow.start('purgeJobState', {
    workflowId: 'by-hand',
    taskQueue: 'steward',
    args: [{ jobId: 'alive', owner, delayMs: 0 }],
  });
  await expect(started.result()).rejects.toThrow();
  expect(await rowsOf(owner)).toBeGreaterThan(3);
  await jobs.cancel('alive');
});

test.each([
  ['no object', 'runJob', 'junk', 'input'],
  ['no pipelines', 'runJob', { jobId: 'x', job: { env: job(0).env, pipelines: [] } }, 'pipelines'],
  ['another workflow id', 'runJob', { jobId: 'x', job: job(0) }, 'jobId'],
  ['no owner', 'purgeJobState', { jobId: 'x', delayMs: 0 }, 'owner'],
  ['an unknown field', 'sweepJobs', { mode: 'repair' }, 'mode'],
])('I10: %s fails %s at once, naming the field', async (what, workflowType, input, field) => {
  const started = await steward.temporal.client.workflow.start(workflowType, {
    workflowId: `bad-input/${what}`,
    taskQueue: 'steward',
    args: [input],
  });
  const error = await started
    .result()
    .catch((thrown: { cause?: { type?: string; message?: string } }) => thrown.cause);
  expect(error).toMatchObject({ type: 'InvalidInput', message: expect.stringContaining(field) });
});

test('I6: news of another owner or execution is dropped, and told; that of its own is not', async () => {
  const { jobs } = steward.client;
  await jobs.submit({ jobId: 'heard', job: job(60_000) });
  await eventually('it has its claim', async () => {
    const { activities } = await steward.events('job/heard');
    return activities.includes('scheduleJob');
  });
  const { owner, execution } = await jobs.get('heard');
  const news = { owner, execution, pipeline: 1, taskGroup: 1, state: 'FAILED' };
  const strange = [
    { ...news, owner: randomUUID() },
    { ...news, execution: execution - 1 },
    { ...news, execution: execution + 1 },
  ];
  for (const one of [news, ...strange]) await workflow('job/heard').signal('taskGroupEnded', one);
  expect(await jobs.cancel('heard')).toMatchObject({ outcome: 'CANCELED', execution });
  const told = readFileSync(steward.worker.logFile, 'utf8')
    .split('\n')
    .filter((line) => line.includes('late news of a task group dropped'))
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(told).toEqual(strange.map((one) => expect.objectContaining({ ...one, workflowId: 'job/heard' })));
});

test('a step that the catalog does not answer at once waits for it as a durable activity, and is made once', async () => {
  const { jobs } = steward.client;
  const scheduled = (activity: string) =>
    eventually(`${activity} is an activity`, async () => {
      const { activities } = await steward.events('job/late');
      return activities.includes(activity);
    });
  const submitted = await steward.catalog.transaction().execute(async (transaction) => {
    await sql`SELECT pg_advisory_xact_lock(hashtextextended('job/late', 0))`.execute(transaction);
    const submission = jobs.submit({ jobId: 'late', job: job(60_000) });
    await scheduled('claimJob');
    return { submission };
  });
  await submitted.submission;
  const { owner } = await jobs.get('late');
  const stopped = await steward.catalog.transaction().execute(async (transaction) => {
    await transaction.selectFrom('job').select('state').where('owner', '=', owner).forUpdate().execute();
    const stop = jobs.cancel('late');
    await scheduled('stopJob');
    return { stop };
  });
  expect(await stopped.stop).toMatchObject({ outcome: 'CANCELED', owner, execution: expect.any(Number) });
  const { times } = await jobs.get('late');
  expect(times.map(({ state }) => state)).toEqual(['CREATED', 'CANCELING', 'CANCELED']);
  const { activities } = await steward.events('job/late');
  expect(activities).toEqual(['claimJob', 'scheduleJob', 'stopJob', 'endJob']);
});

/** A job that was cancelled; answers its owner. */
async function ended(jobId: string, stateCleanupDelayMs: number): Promise<string> {
  await steward.client.jobs.submit({ jobId, job: job(stateCleanupDelayMs) });
  const { owner } = await steward.client.jobs.cancel(jobId);
  return owner;
}

function workflow(workflowId: string) {
  return steward.temporal.client.workflow.getHandle(workflowId);
}

async function purged(jobId: string, owner: string): Promise<unknown> {
  return workflow(`job-cleanup/${jobId}/${owner}`).result();
}

async function rowsOf(owner: string): Promise<number> {
  let rows = 0;
  for (const table of ['job', 'pipeline', 'task_group', 'checkpoint', 'job_state_time'] as const) {
    const found = await steward.catalog
      .selectFrom(table)
      .select('owner')
      .where('owner', '=', owner)
      .execute();
    rows += found.length;
  }
  return rows;
}

/** The sweep leaves alone what was claimed a moment ago. */
async function aged(jobId: string): Promise<void> {
  await eventually('the claim is old enough', async () => {
    const { createdAt } = await steward.client.jobs.get(jobId);
    return Date.now() - Date.parse(createdAt) > 2_500;
  });
}

async function plantSavepoint(jobId: string, owner: string): Promise<void> {
  await steward.catalog
    .insertInto('savepoint')
    .values({
      job_id: jobId,
      owner,
      actor: 'tester',
      checkpoints: '[]',
      locations: '[{"pipeline":1,"taskGroup":1}]',
    })
    .execute();
}

function logged(message: string, owner: string): number {
  const lines = readFileSync(steward.worker.logFile, 'utf8').split('\n');
  return lines.filter((line) => line.includes(message) && line.includes(owner)).length;
}
