import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { durationMs } from '@bufbuild/protobuf/wkt';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { TaskGroupInfo } from '../../src/rpc/gen/steward/worker/v1/inventory_pb.js';
import { OperationState } from '../../src/rpc/gen/steward/worker/v1/operation_pb.js';
import {
  cancel,
  ended,
  FOR_EVER,
  finish,
  say,
  setFault,
  statusOf,
  submit,
} from '../node/region-operations.js';
import { eventually } from '../support/eventually.js';
import {
  cancellation,
  children,
  deployment,
  endOf,
  files,
  idsIn,
  listed,
  locationOf,
  numbers,
  partsOf,
  type Site,
  stagedIn,
  startSite,
  stateOf,
  taskGroup,
  writeCsv,
} from './task-groups.js';

let site: Site;
beforeEach(async () => {
  site = await startSite();
  site.coordinator.claim(locationOf(), 1);
});
afterEach(() => site.end());

/** Runs without end, with a checkpoint ten times a second. */
function endless(ask: { job?: string; execution?: number; attempt?: number } = {}) {
  const { job = 'job', execution = 1, attempt = 1 } = ask;
  return deployment({ job, execution, attempt, directory: site.sink(job), intervalMs: 100 });
}

async function committed(count: number, job = 'job'): Promise<void> {
  await eventually(
    `${count} checkpoints of ${job}`,
    () => site.coordinator.commits.filter(({ taskGroup }) => taskGroup?.jobId === job).length >= count,
  );
}

test('100 concurrent deployments of one task group: one runs, all succeed, one writes', async () => {
  const path = writeCsv(`${site.directory}/in.csv`, 1, 5000);
  const deploy = deployment({ directory: site.sink(), source: files('csv', path), parallelism: 2 });
  const statuses = await Promise.all(
    numbers(1, 100).map(async () => {
      await submit(site.node, deploy);
      return ended(site.node, deploy);
    }),
  );
  expect(statuses).toEqual(numbers(1, 100).map(() => 'SUCCESS'));
  expect(await endOf(site.node)).toMatchObject({ error: '', rowsIn: 5000n });
  expect(idsIn(site.sink())).toEqual(numbers(1, 5000));
  expect(site.coordinator.commitCalls).toBe(1);
  expect(log().split('task group deployed').length - 1).toBe(1);
});

test('the same execution deployed again while it runs: success, and the running one is undisturbed', async () => {
  expect(await finish(site.node, endless())).toEqual(['SUCCESS']);
  let rows = 0n;
  const seen: bigint[] = [];
  for (let attempt = 2; attempt <= 6; attempt += 1) {
    await committed(attempt);
    expect(await finish(site.node, endless(), endless({ attempt }))).toEqual(['SUCCESS', 'SUCCESS']);
    const { rowsIn, state } = await eventually('progress', async () => {
      const info = await taskGroup(site.node);
      seen.push(info.rowsIn);
      return info.rowsIn > rows ? info : undefined;
    });
    expect(state).toBe(1);
    rows = rowsIn;
  }
  expect(seen).toEqual([...seen].sort((a, b) => Number(a - b)));
  expect(await finish(site.node, cancellation())).toEqual(['SUCCESS']);
  const ids = idsIn(site.sink('job'));
  expect(ids).toEqual(numbers(1, ids.length));
  expect(log().split('task group deployed').length - 1).toBe(1);
});

test('a higher execution over an active one fails until that is cancelled; a lower one is stale', async () => {
  await finish(site.node, endless({ execution: 2 }));
  expect(await finish(site.node, endless({ execution: 3 }))).toEqual(['FAIL(ALREADY_EXISTS)']);
  const failed = await statusOf(site.node, endless({ execution: 3 }));
  expect(failed.error?.message).toMatch(/execution 2 of .*\/job\/0\/0 is active: cancel it first/);
  expect(stateOf(await taskGroup(site.node))).toBe('RUNNING');
  expect((await submit(site.node, endless({ execution: 1 }))).map(say)).toEqual(['REFUSED(STALE_EPOCH)']);
  expect(await finish(site.node, cancellation({ execution: 3 }))).toEqual(['SUCCESS']);
  expect(stateOf(await endOf(site.node, 2))).toBe('CANCELED');
  site.coordinator.claim(locationOf(), 3);
  expect(await finish(site.node, endless({ execution: 3, attempt: 2 }))).toEqual(['SUCCESS']);
  expect(await taskGroup(site.node)).toMatchObject({ execution: 3n, state: 1 });
});

test('after an end the same execution answers what it was, and a new one is a legitimate new run', async () => {
  const path = writeCsv(`${site.directory}/in.csv`, 1, 10);
  const deploy = (execution: number, attempt = 1) =>
    deployment({ execution, attempt, directory: site.sink(), source: files('csv', path) });
  await finish(site.node, deploy(1));
  await endOf(site.node);
  expect(await finish(site.node, deploy(1), deploy(1, 2))).toEqual(['SUCCESS', 'SUCCESS']);
  expect(site.coordinator.commits).toHaveLength(1);
  site.coordinator.claim(locationOf(), 2);
  expect(await finish(site.node, deploy(2))).toEqual(['SUCCESS']);
  await endOf(site.node, 2);
  expect(idsIn(site.sink())).toEqual(numbers(1, 10).flatMap((id) => [id, id]));
});

test('a cancellation ends it, throws away what is staged, succeeds when nothing runs, and may be repeated', async () => {
  expect(await finish(site.node, cancellation({ attempt: 7 }))).toEqual(['SUCCESS']);
  await finish(site.node, endless());
  await committed(2);
  site.coordinator.commitGate = 'unavailable';
  const calls = site.coordinator.commitCalls;
  await eventually('a checkpoint is staged', () => site.coordinator.commitCalls > calls);
  const published = partsOf(site.sink('job'));
  expect(await finish(site.node, cancellation(), cancellation({ attempt: 2 }))).toEqual([
    'SUCCESS',
    'SUCCESS',
  ]);
  expect(stateOf(await endOf(site.node))).toBe('CANCELED');
  expect(partsOf(site.sink('job'))).toEqual(published);
  site.coordinator.claim(locationOf(), 2);
  site.coordinator.commitGate = 'open';
  await eventually('nothing is staged', () => stagedIn(site.sink('job')).length === 0);
  expect(partsOf(site.sink('job'))).toEqual(published);
});

test('with a savepoint, a last checkpoint is committed and published before it ends', async () => {
  await finish(site.node, endless());
  await committed(1);
  expect(await finish(site.node, cancellation({ savepoint: true }))).toEqual(['SUCCESS']);
  const end = await endOf(site.node);
  expect(stateOf(end)).toBe('CANCELED');
  const last = site.coordinator.commits.at(-1)!;
  expect(last.last).toBe(true);
  expect(end).toMatchObject({
    checkpointId: last.checkpoint!.checkpointId,
    rowsIn: last.checkpoint!.rowsIn,
    rowsOut: last.checkpoint!.rowsOut,
  });
  const rows = Number(end.rowsIn);
  expect(idsIn(site.sink('job'))).toEqual(numbers(1, rows));

  const restore = site.coordinator.claim(locationOf(), 2);
  const rest = deployment({ execution: 2, directory: site.sink('job'), restore });
  expect(await finish(site.node, rest)).toEqual(['SUCCESS']);
  await eventually('more rows', async () => (await taskGroup(site.node)).rowsIn > end.rowsIn);
  await finish(site.node, cancellation({ execution: 2, savepoint: true }));
  const ids = idsIn(site.sink('job'));
  expect(ids).toEqual(numbers(1, ids.length));
  expect(ids.length).toBeGreaterThan(rows);
});

test('a savepoint that cannot be had fails, and the task group is ended', async () => {
  await site.node.restart('--savepoint-limit-ms', '300');
  await finish(site.node, endless());
  await committed(1);
  await setFault(site.node, { target: 'run-task-group', kind: FOR_EVER });
  await eventually('it hangs', async () => idleMs(await taskGroup(site.node)) > 300);
  expect(await finish(site.node, cancellation({ savepoint: true }))).toEqual(['FAIL(INTERNAL)']);
  const { error } = await statusOf(site.node, cancellation({ savepoint: true }));
  expect(error?.message).toBe('there was no savepoint within 300 ms; the task group is ended');
  expect(stateOf(await endOf(site.node))).toBe('CANCELED');
  expect(await finish(site.node, cancellation({ savepoint: true, attempt: 2 }))).toEqual(['SUCCESS']);
});

test('a deployment that is cancelled half way leaves nothing, and a new attempt runs', async () => {
  await setFault(site.node, { target: 'deploy-task-group', times: 1, kind: FOR_EVER });
  await submit(site.node, endless());
  await committed(1);
  expect((await statusOf(site.node, endless())).state).toBe(OperationState.PROCESSING);
  await cancel(site.node, endless());
  expect(await ended(site.node, endless())).toBe('FAIL(CANCELED)');
  expect(await listed(site.node)).toEqual([]);
  expect(stagedIn(site.sink('job'))).toEqual([]);
  expect(await finish(site.node, endless({ attempt: 2 }))).toEqual(['SUCCESS']);
  expect(stateOf(await taskGroup(site.node))).toBe('RUNNING');
  expect(site.coordinator.notifications).toEqual([]);
});

test('one that hangs stops neither the node nor its neighbours, is idle, and can be cancelled', async () => {
  for (const job of ['stuck', 'lively']) site.coordinator.claim(locationOf(job), 1);
  await setFault(site.node, { target: 'run-task-group', match: '/stuck/', kind: FOR_EVER });
  expect(await finish(site.node, endless({ job: 'stuck' }), endless({ job: 'lively' }))).toEqual([
    'SUCCESS',
    'SUCCESS',
  ]);
  await committed(5, 'lively');
  const stuck = await eventually('it is idle', async () => {
    const info = await taskGroup(site.node, 'stuck');
    return idleMs(info) > 300 ? info : undefined;
  });
  expect(stuck).toMatchObject({ state: 1, rowsIn: 0n, checkpointId: 0n });
  expect((await taskGroup(site.node, 'lively')).rowsIn).toBeGreaterThan(0n);
  expect(await finish(site.node, cancellation({ job: 'stuck' }))).toEqual(['SUCCESS']);
  expect(stateOf(await endOf(site.node, 1, 'stuck'))).toBe('CANCELED');
  await committed(8, 'lively');
});

test('one that hangs inside of DuckDB, or whose process crashes, harms nobody else', async () => {
  for (const job of ['stuck', 'lively', 'crashed']) site.coordinator.claim(locationOf(job), 1);
  const transform = 'SELECT seq, r.range FROM source, range(100000000000) r WHERE hash(r.range) = seq';
  const stuck = deployment({ job: 'stuck', directory: site.sink(), transform });
  const runners = () => children(site.node.process.pid);
  await finish(site.node, endless({ job: 'crashed' }));
  await committed(1, 'crashed');
  const [crashed] = runners();
  await finish(site.node, stuck, endless({ job: 'lively' }));
  process.kill(crashed!, 'SIGSEGV');
  expect(await endOf(site.node, 1, 'crashed')).toMatchObject({
    state: 3,
    error: 'its process ended unexpectedly: SIGSEGV',
  });
  await committed(5, 'lively');
  expect(stateOf(await taskGroup(site.node, 'stuck'))).toBe('RUNNING');
  const scratch = join(site.node.data, 'scratch');
  expect(readdirSync(scratch)).toHaveLength(2);
  expect(await finish(site.node, cancellation({ job: 'stuck' }))).toEqual(['SUCCESS']);
  expect(runners()).toHaveLength(1);
  expect(readdirSync(scratch)).toHaveLength(1);
});

test('a fault fails a pipeline with its message', async () => {
  await setFault(site.node, {
    target: 'run-task-group',
    times: 1,
    kind: { case: 'fail', value: { message: 'out of luck', afterEffect: false } },
  });
  await finish(site.node, endless());
  expect(await endOf(site.node)).toMatchObject({ state: 3, error: 'out of luck' });
  expect(stagedIn(site.sink('job'))).toEqual([]);
});

test('a node with all its places taken answers RESOURCE_EXHAUSTED, and takes it when there is one', async () => {
  await site.node.restart('--max-task-groups', '2');
  for (const job of ['a', 'b', 'c']) site.coordinator.claim(locationOf(job), 1);
  const verdicts = (await submit(site.node, ...['a', 'b', 'c'].map((job) => endless({ job })))).map(say);
  expect(verdicts.map((verdict) => verdict.replace('PROCESSING', 'SUCCESS'))).toEqual([
    'SUCCESS',
    'SUCCESS',
    'REFUSED(RESOURCE_EXHAUSTED)',
  ]);
  expect((await submit(site.node, endless({ job: 'a', attempt: 2 }))).map(say)).not.toContain(
    'REFUSED(RESOURCE_EXHAUSTED)',
  );
  await finish(site.node, cancellation({ job: 'a' }));
  expect(await finish(site.node, endless({ job: 'c' }))).toEqual(['SUCCESS']);
});

test('task groups are listed in pages, in order, by catalog and job', async () => {
  const path = writeCsv(`${site.directory}/in.csv`, 1, 1);
  const jobs = ['a', 'a-b', 'a.b', 'b'];
  for (const job of jobs) site.coordinator.claim(locationOf(job), 1);
  for (const job of [...jobs].reverse()) {
    await finish(site.node, deployment({ job, directory: site.sink(), source: files('csv', path) }));
  }
  const found: string[] = [];
  let pageToken = '';
  do {
    const page = await site.node.inventory.listTaskGroups({ node: site.node.ref, pageSize: 3, pageToken });
    found.push(...page.taskGroups.map(({ taskGroup: ref }) => ref!.jobId));
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  expect(found).toEqual(jobs);
  expect((await listed(site.node, 'a')).map(({ taskGroup: ref }) => ref!.jobId)).toEqual(['a']);
  const elsewhere = { node: site.node.ref, catalogId: '00000000-0000-4000-8000-000000000000' };
  expect((await site.node.inventory.listTaskGroups(elsewhere)).taskGroups).toEqual([]);
  await expect(site.node.inventory.listTaskGroups({ node: site.node.ref, pageToken: 'x' })).rejects.toThrow(
    /page_token "x" is not/,
  );
});

test('log lines of a task group name location, execution, job, pipeline and node', async () => {
  await finish(site.node, endless(), cancellation());
  await endOf(site.node);
  const lines = log()
    .split('\n')
    .filter((line) => line.includes('task group'))
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(lines.length).toBeGreaterThanOrEqual(2);
  const { catalogId } = locationOf();
  for (const line of lines) {
    expect(line).toMatchObject({
      location: `${catalogId}/job/0/0`,
      execution: 1,
      job: 'job',
      pipeline: 0,
      node: 'node-1',
    });
  }
});

function idleMs({ idle }: TaskGroupInfo): number {
  return idle === undefined ? 0 : durationMs(idle);
}

function log(): string {
  return readFileSync(site.node.process.logFile, 'utf8');
}
