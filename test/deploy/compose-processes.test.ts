import { payloadToJSON } from '@temporalio/common/lib/proto-utils.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { StewardClient } from '../../src/client/index.js';
import { readTransport } from '../../src/model/transport.js';
import { eventually } from '../support/eventually.js';
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
