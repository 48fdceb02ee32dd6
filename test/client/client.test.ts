import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { StewardClient, StewardError } from '../../src/client/index.js';
import { eventually } from '../support/eventually.js';
import { freePort } from '../support/ports.js';
import { type Steward, startSteward } from '../support/steward.js';

const NODES = ['node-1', 'node-2', 'node-3'];

let steward: Steward;
beforeAll(async () => {
  steward = await startSteward();
  await steward.nodesAlive();
});
afterEach(() => steward.clearFaults());
afterAll(() => steward.stop());

/** The error that something ends with; it has to be a StewardError. */
async function failure(work: Promise<unknown>): Promise<StewardError> {
  const error = await work.then(
    (value) => new Error(`no failure but ${JSON.stringify(value)}`),
    (caught: unknown) => caught,
  );
  expect(error).toBeInstanceOf(StewardError);
  return error as StewardError;
}

async function delay(target: 'create-region' | 'delete-region', ms = 60_000): Promise<void> {
  for (const node of NODES) {
    await steward.fault(node, { target, kind: { case: 'delay', value: durationFromMs(ms) } });
  }
}

test('wrong input is refused by field before any server is asked', async () => {
  const client = await StewardClient.connect({
    coordinatorUrl: `http://127.0.0.1:${await freePort()}`,
    temporal: { address: `127.0.0.1:${await freePort()}`, plain: true },
    actor: 'tester',
  });
  const creation = { database: 'sales', kind: 'DATA' as const, groups: 1, replicationFactor: 3 };
  const wrong: [() => Promise<unknown>, string][] = [
    [() => client.databases.create({ name: 'Sales' }), 'name'],
    [() => client.databases.get(''), 'name'],
    [() => client.databases.delete('a b'), 'database'],
    [() => client.regionGroups.create({ ...creation, groups: 0 }), 'groups'],
    [() => client.regionGroups.create({ ...creation, groups: 1.5 }), 'groups'],
    [() => client.regionGroups.create({ ...creation, replicationFactor: 10 }), 'replicationFactor'],
    [() => client.regionGroups.create({ ...creation, kind: 'BLOB' as 'DATA' }), 'kind'],
    [() => client.regionGroups.create({ ...creation, request: 'a/b' }), 'request'],
    [() => client.regionGroups.plan({ ...creation, groups: 1_001 }), 'groups'],
    [() => client.regionGroups.remove({ groups: [] }), 'groups'],
    [() => client.regionGroups.remove({ groups: [-1] }), '0'],
    [() => client.regionGroups.recreateMissing({ database: 'sales', groups: [] }), 'groups'],
    [() => client.regionGroups.get(0), 'groupId'],
    [() => client.regionGroups.list({ database: '../' }), 'name'],
    [() => client.nodes.get('Node 1'), 'nodeId'],
  ];
  for (const [work, field] of wrong) {
    const error = await failure(work());
    expect(error, field).toMatchObject({ code: 'INVALID_INPUT', details: { field } });
    expect(error.message).toMatch(new RegExp(`^${field}: `));
  }
  await client.close();
});

test('an actor or coordinator URL that makes no sense is refused at once', async () => {
  const options = { coordinatorUrl: steward.coordinatorUrl, actor: 'tester' };
  expect(await failure(StewardClient.connect({ ...options, actor: '' }))).toMatchObject({
    code: 'INVALID_INPUT',
  });
  expect(await failure(StewardClient.connect({ ...options, coordinatorUrl: 'ftp://x' }))).toMatchObject({
    code: 'INVALID_INPUT',
    details: { field: 'coordinatorUrl' },
  });
});

test('a server that is away is UNAVAILABLE and named; what needs only the other one works', async () => {
  const temporalPort = await freePort();
  const client = await StewardClient.connect({
    coordinatorUrl: steward.coordinatorUrl,
    temporal: { address: `127.0.0.1:${temporalPort}`, plain: true },
    actor: 'tester',
  });
  expect(await client.nodes.list()).toHaveLength(3);
  const error = await failure(client.regionGroups.remove({ groups: [1] }));
  expect(error).toMatchObject({ code: 'UNAVAILABLE' });
  expect(error.message).toContain(`Temporal at 127.0.0.1:${temporalPort} cannot be reached`);
  await client.close();
});

test('a namespace that is missing is NOT_FOUND, and says which', async () => {
  const client = await StewardClient.connect({
    coordinatorUrl: steward.coordinatorUrl,
    temporal: { address: steward.temporalAddress, namespace: 'elsewhere', plain: true },
    actor: 'tester',
  });
  for (const work of [
    () => client.regionGroups.remove({ groups: [1] }),
    () => client.operations.get('x'),
    () => client.operations.list(),
  ]) {
    const error = await failure(work());
    expect(error).toMatchObject({ code: 'NOT_FOUND' });
    expect(error.message).toMatch(/namespace elsewhere/i);
  }
  await client.close();
});

test("a connection of one's own stays open when the client is closed", async () => {
  const { connection } = steward.temporal;
  const client = await StewardClient.connect({
    coordinatorUrl: steward.coordinatorUrl,
    temporal: { connection },
    actor: 'tester',
  });
  await client.operations.list();
  await client.close();
  expect((await steward.temporal.client.workflowService.getSystemInfo({})).capabilities).toBeDefined();
});

test.each([
  ['client', 'UNAVAILABLE'],
  ['coordinator', '14'],
])(
  'a %s that closes while Temporal is asked, and away, ends the question and not the program',
  async (who, answer) => {
    const program = fileURLToPath(new URL('closed-while-asking.mjs', import.meta.url));
    const { coordinatorUrl, temporalAddress } = steward;
    const asked = promisify(execFile)(process.execPath, [program, who, coordinatorUrl, temporalAddress]);
    expect(await asked).toMatchObject({ stdout: `${answer}\n`, stderr: '' });
  },
);

test('what the coordinator refuses is told by code', async () => {
  await steward.client.databases.create({ name: 'there' });
  const plan = { kind: 'DATA' as const, groups: 1, replicationFactor: 4 };
  expect(await failure(steward.client.databases.create({ name: 'there' }))).toMatchObject({
    code: 'ALREADY_EXISTS',
  });
  expect(await failure(steward.client.databases.get('nowhere'))).toMatchObject({ code: 'NOT_FOUND' });
  expect(await failure(steward.client.regionGroups.get(987_654))).toMatchObject({ code: 'NOT_FOUND' });
  expect(await failure(steward.client.regionGroups.plan(plan))).toMatchObject({ code: 'REJECTED' });
  const many = Array.from({ length: 60 }, (_, index) => 900_000 + index);
  const error = await failure(steward.client.regionGroups.getMany(many));
  expect(error).toMatchObject({ code: 'NOT_FOUND' });
  expect(error.message).toContain('and 10 more');
});

test('what a workflow refuses is told by code, with the reason', async () => {
  const creation = { database: 'nowhere', kind: 'DATA' as const, groups: 1, replicationFactor: 3 };
  const unknown = await steward.client.regionGroups.create(creation);
  expect(await failure(unknown.result())).toMatchObject({ code: 'NOT_FOUND', details: 'DATABASE_NOT_FOUND' });
  await steward.client.databases.create({ name: 'small' });
  const wide = await steward.client.regionGroups.create({
    ...creation,
    database: 'small',
    replicationFactor: 4,
  });
  expect(await failure(wide.result())).toMatchObject({ code: 'REJECTED', details: 'NOT_ENOUGH_NODES' });
  const gone = await steward.client.regionGroups.remove({ groups: [987_654] });
  expect(await failure(gone.result())).toMatchObject({
    code: 'NOT_FOUND',
    details: 'REGION_GROUP_NOT_FOUND',
  });
});

test('junk that somebody started by hand is INVALID_INPUT, and names the field', async () => {
  const { client } = steward.temporal;
  await client.workflow.start('createRegionGroups', {
    workflowId: 'by-hand',
    taskQueue: 'steward',
    args: [{ database: 'sales', kind: 'BLOB', groups: 1, replicationFactor: 3, request: 'r' }],
  });
  const handle = await steward.client.operations.handle('by-hand');
  expect(await failure(handle.result())).toMatchObject({ code: 'INVALID_INPUT', details: { field: 'kind' } });
});

test('a removal that runs already is HELD by the one that was described', async () => {
  const [group] = await steward.database('held', 1);
  await delay('delete-region');
  const first = await steward.client.regionGroups.remove({ groups: [group!] });
  const error = await failure(steward.client.regionGroups.remove({ groups: [group!] }));
  expect(error).toMatchObject({
    code: 'HELD',
    holder: {
      workflowId: `region-group/${group}/remove`,
      firstRunId: first.runId,
      workflowType: 'removeRegionGroups',
      actor: 'tester',
    },
  });
  await steward.clearFaults();
  expect(await first.result()).toEqual({ outcome: 'REMOVED', groups: 1, replicas: 3 });
});

test('a creation id that another type of workflow runs under is HELD, never joined', async () => {
  await steward.client.databases.create({ name: 'squatted' });
  const { client } = steward.temporal;
  const squatter = await client.workflow.start('removeRegionGroups', {
    workflowId: 'database/squatted/create/r',
    taskQueue: 'nobody-polls-this',
    args: [{ groups: [1] }],
  });
  const creation = {
    database: 'squatted',
    kind: 'DATA' as const,
    groups: 1,
    replicationFactor: 3,
    request: 'r',
  };
  expect(await failure(steward.client.regionGroups.create(creation))).toMatchObject({
    code: 'HELD',
    holder: { workflowType: 'removeRegionGroups', workflowId: 'database/squatted/create/r' },
  });
  await squatter.terminate();
});

test('the same request attaches to the creation that runs; another one under its name is REJECTED', async () => {
  await steward.client.databases.create({ name: 'attached' });
  await delay('create-region');
  const creation = {
    database: 'attached',
    kind: 'DATA' as const,
    groups: 1,
    replicationFactor: 3,
    request: 'r',
  };
  const first = await steward.client.regionGroups.create(creation);
  const second = await steward.client.regionGroups.create(creation);
  expect([first.attached, second.attached]).toEqual([false, true]);
  expect(second.runId).toBe(first.runId);
  expect(await failure(steward.client.regionGroups.create({ ...creation, kind: 'SCHEMA' }))).toMatchObject({
    code: 'REJECTED',
    details: 'REQUEST_REUSED',
  });
  await steward.clearFaults();
  expect(await second.result()).toEqual(await first.result());
});

test('waiting can be given up by time or by signal; the operation goes on, and its description says what blocks', async () => {
  const [group] = await steward.database('watched', 1);
  await delay('delete-region');
  await steward.fault('node-2', { target: 'Submit', kind: { case: 'error', value: 'unavailable' } });
  const removal = await steward.client.regionGroups.remove({ groups: [group!] });
  expect(await failure(removal.result({ timeoutMs: 200 }))).toMatchObject({ code: 'TIMED_OUT' });
  expect(await failure(removal.result({ signal: AbortSignal.abort() }))).toMatchObject({ code: 'TIMED_OUT' });

  const blocked = await eventually('it names its blocker', async () => {
    const found = await steward.client.operations.get(removal.operationId);
    return found.blockers.length > 0 && found.pendingActivities.length === 3 && found;
  });
  expect(blocked).toMatchObject({
    operationId: `region-group/${group}/remove`,
    runId: removal.runId,
    workflowType: 'removeRegionGroups',
    status: 'RUNNING',
    database: 'watched',
    resource: `region-group/${group}`,
    phase: 'REMOVING',
    actor: 'tester',
    summary: `remove region group ${group}`,
    currentDetails: expect.stringContaining('| node-2 | 1 |'),
    progress: { total: 3, open: 3 },
  });
  expect(blocked.blockers).toEqual([expect.stringMatching(/^node-2 does not answer: Unavailable/)]);
  expect(new Set(blocked.pendingActivities.map(({ summary }) => summary))).toEqual(
    new Set(NODES.map((node) => `delete 1 region on ${node}`)),
  );

  const seen: number[] = [];
  const watching = removal.watch(({ progress }) => seen.push(progress?.open ?? -1), { intervalMs: 20 });
  await eventually('it was seen open', () => seen.includes(3));
  await steward.clearFaults();
  await watching;
  expect(seen.at(-1)).toBe(0);
  expect(await removal.describe()).toMatchObject({
    status: 'COMPLETED',
    result: { outcome: 'REMOVED' },
    blockers: [],
  });
});

test('an operation that was terminated is CANCELED for who waits, and described as TERMINATED', async () => {
  const [group] = await steward.database('terminated', 1);
  await delay('delete-region');
  const removal = await steward.client.regionGroups.remove({ groups: [group!] });
  const waiting = failure(removal.result());
  await steward.temporal.client.workflow.getHandle(removal.operationId).terminate('by hand');
  expect(await waiting).toMatchObject({ code: 'CANCELED' });
  expect(await removal.describe()).toMatchObject({ status: 'TERMINATED', failure: { code: 'CANCELED' } });
});

test('without a worker an operation says so', async () => {
  const client = await StewardClient.connect({
    coordinatorUrl: steward.coordinatorUrl,
    temporal: { address: steward.temporalAddress, plain: true },
    taskQueue: 'nobody-polls-this',
    actor: 'tester',
  });
  const removal = await client.regionGroups.remove({ groups: [1] });
  const { blockers } = await eventually('the blocker is named', async () => {
    const found = await removal.describe();
    return found.blockers.length > 0 && found;
  });
  expect(blockers).toEqual([
    expect.stringMatching(/^no worker takes it up since .*: see whether a Steward worker runs$/),
  ]);
  await steward.temporal.client.workflow.getHandle(removal.operationId).terminate();
  await client.close();
});

test('the list has what runs, and with all also what ended, the newest first', async () => {
  const [one, other] = await steward.database('listed', 2);
  await (await steward.client.regionGroups.remove({ groups: [one!] })).result();
  await delay('delete-region');
  const running = await steward.client.regionGroups.remove({ groups: [other!] });
  const listed = await eventually('visibility has caught up', async () => {
    const all = await steward.client.operations.list();
    const ended = all.find(({ operationId }) => operationId === `region-group/${one}/remove`);
    return ended?.status === 'COMPLETED' && all[0]?.operationId === running.operationId && all;
  });
  expect(listed[0]).toMatchObject({ status: 'RUNNING', actor: 'tester', resource: `region-group/${other}` });
  const open = await steward.client.operations.list({ running: true });
  expect(open.map(({ status }) => status)).toEqual(open.map(() => 'RUNNING'));
  expect(open.map(({ operationId }) => operationId)).toContain(running.operationId);
});

test('the list leaves out what schedules started and went well, unless that is asked for', async () => {
  const schedule = await StewardClient.connect({
    coordinatorUrl: steward.coordinatorUrl,
    temporal: { address: steward.temporalAddress, plain: true },
    actor: 'schedule',
  });
  const routine = await schedule.sweeps.run();
  const asked = await steward.client.sweeps.run();
  const ids = async (filter: { readonly actor?: string }) =>
    (await steward.client.operations.list(filter)).map(({ operationId }) => operationId);
  await eventually('both have ended', async () => {
    const all = await steward.client.operations.list({ actor: 'schedule' });
    return all[0]?.status === 'COMPLETED' && (await ids({})).includes(asked.operationId);
  });
  expect(await ids({})).not.toContain(routine.operationId);
  expect(await ids({ actor: 'schedule' })).toEqual([routine.operationId]);
  await schedule.close();
});
