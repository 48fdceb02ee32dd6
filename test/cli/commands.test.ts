import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { eventually } from '../support/eventually.js';
import { type Steward, startSteward } from '../support/steward.js';
import { type Ended, steward as run, startCommand } from './steward-command.js';

let steward: Steward;
beforeAll(async () => {
  steward = await startSteward();
  await steward.nodesAlive();
});
afterEach(() => steward.clearFaults());
afterAll(() => steward.stop());

/** A command line against the cluster. */
function cli(line: string): Promise<Ended> {
  return run(line.split(' '), { env: steward.clientEnv });
}

async function slowDeletions(ms = 60_000): Promise<void> {
  for (const node of ['node-1', 'node-2', 'node-3']) {
    await steward.fault(node, {
      target: 'delete-region',
      kind: { case: 'delay', value: durationFromMs(ms) },
    });
  }
}

/** A running region group of three replicas in a database of its own. */
async function regionGroup(database: string): Promise<number> {
  const [group] = await steward.database(database, 1);
  return group!;
}

test('a database is made with its first region groups, and shown', async () => {
  const made = await cli('database create sales --data-groups 2 --schema-groups 1 --json');
  expect(made.stderr).toBe('');
  expect(made.code).toBe(0);
  expect(made.document()).toMatchObject({
    database: {
      name: 'sales',
      state: 'ACTIVE',
      createdBy: 'tester',
      dataRegionGroups: 2,
      schemaRegionGroups: 1,
    },
    operations: [
      { operationId: 'database/sales/create/initial-schema', outcome: 'DONE', result: { complete: 1 } },
      { operationId: 'database/sales/create/initial-data', outcome: 'DONE', result: { complete: 2 } },
    ],
  });
  const [databases, shown, groups, node, nodes] = await Promise.all([
    cli('database list --json'),
    cli('database show sales'),
    cli('region-group list --database sales --json'),
    cli('node show node-2'),
    cli('node list'),
  ]);
  expect(databases.document()).toMatchObject({
    databases: [{ name: 'sales', runningRegionGroups: 3, runningReplicas: 9 }],
  });
  expect(shown.stdout).toMatch(/replicas\s+9 of 9 run/);
  expect(shown.stdout).toMatch(/SCHEMA\s+RUNNING\s+3\/3\s+node-1 node-2 node-3/);
  const { regionGroups } = groups.document() as { regionGroups: { groupId: number; kind: string }[] };
  expect(regionGroups.map(({ kind }) => kind).sort()).toEqual(['DATA', 'DATA', 'SCHEMA']);
  for (const { groupId } of regionGroups) expect(node.stdout).toMatch(new RegExp(`\\b${groupId}  sales`));
  expect(nodes.stdout.match(/alive/g)).toHaveLength(3);

  const again = await cli('database create sales');
  expect(again.stderr).toMatch(/^steward: database sales exists already.*\n$/);
  expect(again.code).toBe(2);
});

test('a dry run shows the plan and changes nothing', async () => {
  const group = await regionGroup('dry');
  const before = await everything();
  const [database, creation, removal, recreation, fault] = await Promise.all([
    cli('database create unmade --data-groups 2 --dry-run --json'),
    cli('region-group create dry --kind schema --groups 2 --dry-run --json'),
    cli(`region-group remove ${group} --dry-run --json`),
    cli(`region-group recreate ${group} --dry-run --json`),
    cli('node fault node-1 --rpc Submit --error unavailable --dry-run --json'),
  ]);
  const nodes = ['node-1', 'node-2', 'node-3'];
  const [data, schema] = [
    { kind: 'DATA', nodes },
    { kind: 'SCHEMA', nodes },
  ];
  expect(database.document()).toEqual({
    dryRun: true,
    plan: { database: 'unmade', regionGroups: [data, data] },
  });
  expect(creation.document()).toEqual({
    dryRun: true,
    plan: { database: 'dry', regionGroups: [schema, schema] },
  });
  expect(removal.document()).toMatchObject({
    dryRun: true,
    plan: { regionGroups: [{ groupId: group, state: 'RUNNING' }], replicas: 3 },
  });
  expect(recreation.document()).toMatchObject({
    dryRun: true,
    plan: { regionGroups: [{ regionGroup: { groupId: group }, missing: 0 }] },
  });
  expect(fault.document()).toEqual({
    dryRun: true,
    plan: { nodeId: 'node-1', add: { target: 'Submit', times: 0, kind: 'ERROR', code: 'unavailable' } },
  });
  for (const { code, stderr } of [database, creation, removal, recreation, fault]) {
    expect(stderr).toBe('');
    expect(code).toBe(0);
  }
  expect(await everything()).toEqual(before);
});

test('input that cannot be is refused with exit code 2 before anything is changed', async () => {
  const group = await regionGroup('refusing');
  await (await steward.client.regionGroups.remove({ groups: [group] })).result();
  const before = await everything();
  const refusals: [string, RegExp][] = [
    [
      'database create Refusing',
      /name: expected 1 to 63 lower-case letters, digits or \. _ -, the first one a letter, got "Refusing"/,
    ],
    [
      'database create other --data-groups 1 --replication 4',
      /4 replicas need as many live nodes, and there are 3/,
    ],
    ['database show nowhere', /database nowhere does not exist/],
    ['region-group create nowhere --kind data --groups 1', /database nowhere does not exist/],
    [
      'region-group create refusing --kind data --groups 1 --replication 4',
      /4 replicas need as many live nodes/,
    ],
    [
      'region-group create refusing --kind data --groups 1 --request a/b',
      /request: expected 1 to 63 letters, digits or/,
    ],
    [`region-group remove ${group}`, /does not exist \(never created, or removed\)/],
    [`region-group remove ${group} 987654`, /region groups \d+, 987654 does not exist/],
    [`region-group recreate ${group}`, /does not exist/],
    [`region-group show ${group}`, /does not exist/],
    ['region-group list --database nowhere', /database nowhere does not exist/],
    ['node show node-9', /node node-9 does not exist: known are node-1, node-2, node-3/],
    ['node fault node-9 --list', /node node-9 does not exist/],
    ['node fault node-1 --rpc Submit --error sometimes', /Connect code/],
    ['operation show nothing/like/this', /operation nothing\/like\/this does not exist/],
  ];
  const ended = await Promise.all(refusals.map(([line]) => cli(line)));
  for (const [index, { code, stdout, stderr }] of ended.entries()) {
    const [line, reason] = refusals[index]!;
    expect(stderr, line).toMatch(reason);
    expect(stderr.trimEnd().split('\n'), line).toHaveLength(1);
    expect(stdout, line).toBe('');
    expect(code, line).toBe(2);
  }
  expect(await everything()).toEqual(before);
}, 60_000);

test('a second removal is refused with exit code 3, and names the holder', async () => {
  const group = await regionGroup('held');
  await slowDeletions();
  const first = await cli(`region-group remove ${group} --no-wait --actor ann --json`);
  expect(first.document()).toEqual({
    operation: { operationId: `region-group/${group}/remove`, runId: expect.any(String), outcome: 'STARTED' },
  });
  await claimed(group);
  const [second, several, plan] = await Promise.all([
    cli(`region-group remove ${group}`),
    cli(`region-group remove ${group} --json`),
    cli(`region-group remove ${group} --dry-run`),
  ]);
  expect(second.stderr).toMatch(
    new RegExp(
      `^steward: it runs already: removeRegionGroups region-group/${group}/remove of ann since .*: ` +
        `steward operation show region-group/${group}/remove\\n$`,
    ),
  );
  expect(second.code).toBe(3);
  expect(several.document()).toMatchObject({
    error: { code: 'HELD', holder: { workflowId: `region-group/${group}/remove`, actor: 'ann' } },
  });
  expect(plan.stdout).toContain(`held now by removeRegionGroups region-group/${group}/remove of ann since`);
  expect(plan.code).toBe(0);
});

test('the claim of a live workflow refuses an operation under another id as well', async () => {
  const [one, other] = await steward.database('claimed', 2);
  await slowDeletions();
  await cli(`region-group remove ${one} --no-wait`);
  await claimed(one!);
  const both = await cli(`region-group remove ${one} ${other} --json`);
  expect(both.document()).toMatchObject({
    error: {
      code: 'HELD',
      holder: { workflowId: `region-group/${one}/remove` },
      operationId: expect.stringMatching(`^region-groups/${one}\\+1/remove/`),
    },
  });
  expect(both.code).toBe(3);
  expect((await steward.client.regionGroups.get(other!)).state).toBe('RUNNING');
});

test('who waits for a creation that is taken over exits with 3, and is told by whom', async () => {
  await steward.client.databases.create({ name: 'superseded' });
  for (const node of ['node-1', 'node-2', 'node-3']) {
    await steward.fault(node, {
      target: 'create-region',
      kind: { case: 'delay', value: durationFromMs(60_000) },
    });
  }
  const creation = cli('region-group create superseded --kind data --groups 1 --request r --json');
  const { groupId } = await eventually('the region group is allocated', async () => {
    const [found] = await steward.client.regionGroups.list({ database: 'superseded' });
    return found;
  });
  await steward.client.regionGroups.remove({ groups: [groupId] });
  await claimed(groupId);
  await steward.clearFaults();
  const { code, document } = await creation;
  expect(document()).toMatchObject({
    error: {
      code: 'SUPERSEDED',
      operationId: 'database/superseded/create/r',
      holder: { workflowId: `region-group/${groupId}/remove`, workflowType: 'removeRegionGroups' },
    },
  });
  expect(code).toBe(3);
});

test('region groups that miss their quorum fail the creation with exit code 1 and the outcome of each', async () => {
  await steward.client.databases.create({ name: 'quorumless' });
  for (const node of ['node-1', 'node-2']) {
    await steward.fault(node, {
      target: 'create-region',
      kind: { case: 'fail', value: { message: 'no space left' } },
    });
  }
  const { code, stderr, document } = await cli(
    'region-group create quorumless --kind data --groups 1 --json',
  );
  expect(document()).toMatchObject({
    error: { code: 'INCOMPLETE', details: { withoutQuorum: 1, reports: [{ outcome: 'NO_QUORUM' }] } },
  });
  expect(stderr).toMatch(
    /^steward: 1 of 1 region groups missed their quorum.*node-1 FAILED \(.*no space left\).*\n$/,
  );
  expect(code).toBe(1);
});

test('asking twice with one request name creates once, also while the first one runs', async () => {
  await steward.client.databases.create({ name: 'twice' });
  await steward.fault('node-2', {
    target: 'create-region',
    times: 1,
    kind: { case: 'delay', value: durationFromMs(10_000) },
  });
  const line = 'region-group create twice --kind data --groups 1 --request monday --json';
  const first = cli(line);
  await eventually('the first one runs', async () => {
    const { status } = await steward.client.operations.get('database/twice/create/monday');
    return status === 'RUNNING';
  });
  const [one, other, different] = await Promise.all([
    first,
    cli(line),
    cli(line.replace('--groups 1', '--groups 2')),
  ]);
  expect(one.code).toBe(0);
  // On a machine that is too slow for both to meet, the second one finds the first one's end.
  expect(withoutRun(other)).toEqual(withoutRun(one));
  expect(different.document()).toMatchObject({ error: { code: 'REJECTED', details: 'REQUEST_REUSED' } });
  expect(different.code).toBe(2);
  expect(await steward.client.regionGroups.list({ database: 'twice' })).toHaveLength(1);
});

test('--timeout and Ctrl-C give up the waiting with exit code 4; the operation goes on, and its page names the blocker', async () => {
  const [one, other] = await steward.database('waiting', 2);
  await slowDeletions();
  await steward.fault('node-2', { target: 'Submit', kind: { case: 'error', value: 'unavailable' } });
  const timedOut = cli(`region-group remove ${one} --timeout 1s --json`);
  const interrupted = startCommand(['region-group', 'remove', String(other)], { env: steward.clientEnv });
  await claimed(other!);
  interrupted.child.kill('SIGINT');
  const { code, stdout, stderr } = await interrupted.ended;
  expect(stderr).toBe(
    'steward: stopped waiting: the operation goes on; look again with: ' +
      `steward operation show region-group/${other}/remove\n`,
  );
  expect(stdout).toBe('');
  expect(code).toBe(4);
  expect((await timedOut).document()).toMatchObject({
    error: { code: 'TIMED_OUT', operationId: `region-group/${one}/remove` },
  });
  expect((await timedOut).code).toBe(4);

  const page = await eventually('the page names the blocker', async () => {
    const { stdout: text } = await cli(`operation show region-group/${one}/remove`);
    return text.includes('BLOCKED BY') && text;
  });
  expect(page).toMatch(/BLOCKED BY\n- {2}node-2 does not answer: Unavailable/);
  expect(page).toMatch(/delete 1 region on\s+node-1/);
  expect(page).toMatch(/status\s+RUNNING/);
  fits(page);
  const running = await eventually('the list shows both', async () => {
    const { stdout: text } = await cli('operation list');
    return (
      text.includes(`region-group/${one}/remove`) && text.includes(`region-group/${other}/remove`) && text
    );
  });
  fits(running);

  await steward.clearFaults();
  await eventually(
    'both are gone',
    async () => (await steward.client.regionGroups.list({ database: 'waiting' })).length === 0,
  );
  const ended = await eventually('it is closed', async () => {
    const { document } = await cli(`operation show region-group/${one}/remove --json`);
    const { operation } = document() as { operation: { status: string } };
    return operation.status === 'COMPLETED' && operation;
  });
  expect(ended).toMatchObject({
    actor: 'tester',
    blockers: [],
    result: { outcome: 'REMOVED', groups: 1, replicas: 3 },
  });
}, 60_000);

test('missing replicas are brought back', async () => {
  await steward.client.databases.create({ name: 'healing' });
  await steward.fault('node-3', {
    target: 'create-region',
    kind: { case: 'fail', value: { message: 'refused' } },
  });
  const made = await cli('region-group create healing --kind data --groups 1');
  expect(made.stdout).toMatch(/^created 1 DATA region group in healing; 1 of them lack a replica/);
  const incomplete = await cli('region-group list --database healing --incomplete');
  expect(incomplete.stdout).toMatch(/2\/3/);
  fits(incomplete.stdout);
  await steward.clearFaults();
  const [group] = await steward.client.regionGroups.list({ database: 'healing' });
  await eventually('the detached recreation has ended', async () => {
    const { holder } = await steward.client.regionGroups.get(group!.groupId);
    return holder === undefined;
  });
  const again = await cli(`region-group recreate ${group!.groupId}`);
  expect(again.stdout).toBe(`region group ${group!.groupId}: all replicas run\n`);
  expect(again.code).toBe(0);
});

test('faults are set, listed and cleared', async () => {
  const set = await cli('node fault node-1 --effect delete-region --delay 20s --times 2 --match /7/');
  expect(set.stdout).toMatch(/delete-region\s+delay 20s\s+2\s+\/7\//);
  await cli('node fault node-1 --rpc Submit --drop-reply');
  const listed = await cli('node fault node-1 --list --json');
  expect(listed.document()).toEqual({
    nodeId: 'node-1',
    faults: [
      { target: 'delete-region', times: 2, match: '/7/', kind: 'DELAY', delayMs: 20_000 },
      { target: 'Submit', times: 0, kind: 'DROP_REPLY' },
    ],
  });
  await cli('node fault node-2 --rpc Get --error RESOURCE_EXHAUSTED --times 3');
  await cli('node fault node-2 --rpc ListEpochs --error CANCELLED');
  const other = await cli('node fault node-2 --rpc Submit --busy --json');
  expect(other.document()).toEqual({
    nodeId: 'node-2',
    faults: [
      { target: 'Get', times: 3, kind: 'ERROR', code: 'resource_exhausted' },
      { target: 'ListEpochs', times: 0, kind: 'ERROR', code: 'canceled' },
      { target: 'Submit', times: 0, kind: 'BUSY', retryAfterMs: 1_000 },
    ],
  });
  const cleared = await cli('node fault node-1 --clear');
  expect(cleared.stdout).toBe('no faults\n');
});

test('tables fit 80 columns and have no colours where there is no terminal, however long the names are', async () => {
  const name = `a${'-very-long-name'.repeat(4)}`;
  await steward.client.databases.create({ name });
  const creation = await steward.client.regionGroups.create({
    database: name,
    kind: 'DATA',
    groups: 1,
    replicationFactor: 3,
    request: 'r'.repeat(63),
  });
  await creation.result();
  const pages = await Promise.all(
    ['database list', `database show ${name}`, 'region-group list', 'node list', 'node show node-1'].map(cli),
  );
  const operations = await eventually('visibility has the operation', async () => {
    const { stdout } = await cli('operation list --all');
    return stdout.includes('rrrr') && stdout;
  });
  for (const { stdout } of pages) fits(stdout);
  fits(operations);
});

/** Waits until the removal has claimed the region group. */
async function claimed(group: number): Promise<void> {
  await eventually(`region group ${group} is claimed`, async () => {
    const { state } = await steward.client.regionGroups.get(group);
    return state === 'REMOVING';
  });
}

function fits(text: string): void {
  for (const line of text.split('\n')) expect(line.length, line).toBeLessThanOrEqual(80);
  expect(text).not.toContain('\u001b');
}

/** What a command printed of an operation, whichever run of it that was. */
function withoutRun(ended: Awaited<ReturnType<typeof cli>>): object {
  const { operation } = ended.document() as { operation: { runId: string } };
  return { ...operation, runId: undefined };
}

/** All that a command could have changed: the catalog, the operations that were started, the faults of the nodes. */
async function everything(): Promise<unknown> {
  const nodes = await steward.client.nodes.list();
  return {
    databases: await steward.client.databases.list(),
    regionGroups: await steward.client.regionGroups.list(),
    replicas: nodes.map(({ nodeId, replicas }) => [nodeId, replicas]),
    operations: await operationsStarted(),
    faults: await Promise.all(
      nodes.map(async ({ nodeId }) => (await steward.client.nodes.faults(nodeId)).list()),
    ),
  };
}

let sentinels = 0;

/**
 * How many operations were started so far. Visibility lags behind: an operation that is started last, and waited for in
 * the list, shows that the list has caught up; it is not counted.
 */
async function operationsStarted(): Promise<number> {
  const sentinel = await steward.client.regionGroups.recreateMissing({ database: 'sentinel', groups: [1] });
  await sentinel.result().catch(() => {});
  sentinels += 1;
  const listed = await eventually('visibility has caught up', async () => {
    const operations = await steward.client.operations.list({ limit: 1_000 });
    return operations.some(({ operationId }) => operationId === sentinel.operationId) && operations;
  });
  return listed.length - sentinels;
}
