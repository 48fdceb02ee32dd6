import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client as TemporalClient } from '@temporalio/client';
import { payloadToJSON } from '@temporalio/common/lib/proto-utils.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  type OptimizerResource,
  StewardClient,
  StewardError,
  type TableDescription,
} from '../../src/client/index.js';
import { readTransport } from '../../src/model/transport.js';
import { idsIn, numbers } from '../jobs/task-groups.js';
import { query } from '../optimizers/parquet.js';
import { eventually } from '../support/eventually.js';
import { rateJob } from '../support/jobs.js';
import { type ComposeProcesses, startComposeProcesses } from './compose-processes.js';

let stack: ComposeProcesses;
let client: StewardClient;

beforeAll(async () => {
  stack = await startComposeProcesses();
  client = await StewardClient.connect({
    coordinatorUrl: stack.coordinatorUrl,
    temporal: {
      address: stack.temporal.address,
      namespace: stack.environment['TEMPORAL_NAMESPACE'],
      payloadKeysFile: stack.caller['STEWARD_PAYLOAD_KEYS_FILE'],
    },
    taskQueue: stack.environment['STEWARD_TASK_QUEUE'] ?? '',
    transport: readTransport(stack.caller),
    actor: 'tester',
  });
}, 240_000);
afterAll(async () => {
  await client?.close();
  await stack?.stop();
}, 60_000);

test('what docker-compose.yml starts makes a database and deletes it, over TLS and with a token', async () => {
  await eventually('three nodes are alive', async () => {
    const nodes = await client.nodes.list();
    return nodes.filter(({ alive }) => alive).length === 3;
  });
  const nodes = await client.nodes.list();
  expect(nodes.map(({ nodeId }) => nodeId)).toEqual(['node-1', 'node-2', 'node-3']);
  for (const { address, capabilities } of nodes) {
    expect(address).toMatch(/^https:/);
    expect(capabilities).not.toContain('faults');
  }
  await create('sales', 2);
  expect((await client.regionGroups.list({ database: 'sales' })).map(({ state }) => state)).toEqual([
    'RUNNING',
    'RUNNING',
  ]);
  expect(await (await client.databases.delete('sales')).result()).toMatchObject({
    outcome: 'DELETED',
  });
  expect(await client.databases.list()).toEqual([]);
}, 60_000);

test('payloads are encrypted in Temporal, and the codec server shows them', async () => {
  const { url, token } = stack.codecServer;
  const { executions } = await stack.temporal.connection.workflowService.listWorkflowExecutions({
    namespace: stack.environment['TEMPORAL_NAMESPACE']!,
    query: "WorkflowType = 'deleteDatabase'",
  });
  const { history } = await stack.temporal.connection.workflowService.getWorkflowExecutionHistory({
    namespace: stack.environment['TEMPORAL_NAMESPACE']!,
    execution: executions[0]!.execution!,
  });
  const [input] = history!.events![0]!.workflowExecutionStartedEventAttributes!.input!.payloads!;
  expect(Buffer.from(input!.metadata!['encoding']!).toString()).toBe('binary/encrypted');
  const ask = (authorization: string) =>
    fetch(`${url}/decode`, {
      method: 'POST',
      headers: { authorization },
      body: JSON.stringify({ payloads: [payloadToJSON(input!)] }),
    });
  expect((await ask('')).status).toBe(401);
  const { payloads } = (await (await ask(`Bearer ${token}`)).json()) as { payloads: { data: string }[] };
  expect(JSON.parse(Buffer.from(payloads[0]!.data, 'base64').toString())).toMatchObject({
    database: 'sales',
  });
});

test('a table is optimized by an optimizer that the keeper asked a node for, and starts again when it dies', async () => {
  await client.optimizerGroups.create({
    name: 'merging',
    intervalMs: 500,
    settings: { autoRestart: true, minParallelism: 1, gracePeriodMs: 10_000, heartbeatTimeoutMs: 3_000 },
  });
  await client.tables.create({ name: 'readings', group: 'merging' });
  await ingest(0, 4);
  const first = await liveOptimizer();
  await optimize();
  process.kill(pidOf(first), 'SIGKILL');
  const second = await eventually('it was started again', async () => {
    const { resources } = await client.optimizerGroups.get('merging');
    return resources.find(({ launch, optimizer }) => launch > first.launch && optimizer?.alive);
  });
  expect(second.resourceId).toBe(first.resourceId);
}, 90_000);

test('a process whose commit was lost is healed: the table is committed once, with every row', async () => {
  await ingest(4, 4);
  const { snapshotId } = await client.tables.get('readings');
  const optimizer = pidOf(await liveOptimizer());
  process.kill(optimizer, 'SIGSTOP');
  const planning = await client.tables.optimize('readings', { kind: 'FULL' });
  const { processId } = (await planning.result()).planned[0]!;
  const workers = ['worker-1', 'worker-2'];
  await Promise.all(workers.map((name) => stack.process(name).stop()));
  process.kill(optimizer, 'SIGCONT');
  await eventually('it is about to be committed', async () => {
    return (await client.tables.get('readings')).status === 'COMMITTING';
  });
  const temporal = new TemporalClient({
    connection: stack.temporal.connection,
    namespace: stack.environment['TEMPORAL_NAMESPACE']!,
  });
  const { tableId } = await client.tables.get('readings');
  const commit = temporal.workflow.getHandle(`table/${tableId}/commit/${processId}`);
  await eventually('its commit was started, and is lost', () =>
    commit.terminate('by hand').then(
      () => true,
      () => false,
    ),
  );
  await Promise.all(workers.map((name) => stack.start(name)));
  await eventually('it is healed', async () => {
    await (await client.heals.run({ mode: 'repair', graces: { commitGraceMs: 100 } })).result();
    return (await client.tables.get('readings')).status === 'IDLE';
  });
  const table = await client.tables.get('readings');
  expect(table).toMatchObject({ snapshotId: snapshotId + 1, rows: 24 });
  expect(await idsOf(table)).toEqual(Array.from({ length: 24 }, (_, id) => id));
}, 120_000);

test('a job is deployed on the nodes, writes every row once, and its tombstone goes', async () => {
  const sink = stack.volume('warehouse/sinks/job');
  const job = rateJob(
    sink,
    { rows: 900, rowsPerSecond: 300, taskGroups: 3 },
    { checkpointIntervalMs: 500, stateCleanupDelayMs: 1_000 },
  );
  const handle = await client.jobs.submit({ jobId: 'etl', job });
  expect(await handle.result()).toMatchObject({ outcome: 'FINISHED', rowsOut: 900, restarts: 0 });
  expect(idsIn(sink)).toEqual(numbers(0, 900));
  await eventually('nothing of it is kept', () =>
    client.jobs.get('etl').then(
      () => false,
      (error: unknown) => error instanceof StewardError && error.code === 'NOT_FOUND',
    ),
  );
}, 60_000);

test('who has no token is answered nothing', async () => {
  const stranger = await StewardClient.connect({
    coordinatorUrl: stack.coordinatorUrl,
    temporal: { address: stack.temporal.address },
    transport: readTransport({ STEWARD_TLS_CA: stack.caller['STEWARD_TLS_CA'] }),
    actor: 'stranger',
  });
  await expect(stranger.nodes.list()).rejects.toThrow(/token/);
  await stranger.close();
});

test('a health check fails for a process that is gone, and one coordinator and one worker are enough', async () => {
  for (const name of ['coordinator-1', 'worker-1']) {
    expect(await stack.process(name).stop()).toMatchObject({ code: 0 });
    await expect(stack.checkHealth(name)).rejects.toThrow(/ECONNREFUSED|fetch failed/);
    await stack.checkHealth(name.replace('1', '2'));
  }
  await create('orders', 1);
  expect(await (await client.databases.delete('orders')).result()).toMatchObject({
    outcome: 'DELETED',
  });
  await eventually('the nodes are still known', async () => {
    const nodes = await client.nodes.list();
    return nodes.every(({ alive }) => alive);
  });
}, 60_000);

async function ingest(from: number, files: number): Promise<void> {
  for (let file = from; file < from + files; file += 1) {
    const path = join(stack.volume('warehouse'), `part-${file}.csv`);
    const rows = [0, 1, 2].map((row) => `${file * 3 + row},n`);
    writeFileSync(path, `id,name\n${rows.join('\n')}\n`);
    await client.tables.ingest('readings', path);
  }
}

async function optimize(): Promise<void> {
  expect((await (await client.tables.optimize('readings', { kind: 'FULL' })).result()).planned).toHaveLength(
    1,
  );
  await eventually('it is one file', async () => {
    const { status, files } = await client.tables.get('readings');
    return status === 'IDLE' && files === 1;
  });
}

async function liveOptimizer(): Promise<OptimizerResource> {
  // It registers before its start's outcome, which names the process, is on record.
  return eventually('an optimizer lives', async () => {
    const { resources } = await client.optimizerGroups.get('merging');
    return resources.find(({ optimizer, processId }) => optimizer?.alive && processId);
  });
}

function pidOf({ processId }: OptimizerResource): number {
  return Number(processId!.split('@')[0]);
}

async function idsOf({ location, dataFiles }: TableDescription): Promise<number[]> {
  const paths = dataFiles.map(({ path }) => `'${join(location, path)}'`).join(', ');
  const rows = await query(`SELECT id FROM read_parquet([${paths}]) ORDER BY id`);
  return rows.map(({ id }) => Number(id));
}

async function create(name: string, groups: number): Promise<void> {
  await client.databases.create({ name });
  const creation = await client.regionGroups.create({
    database: name,
    kind: 'DATA',
    groups,
    replicationFactor: 3,
  });
  await creation.result();
}
