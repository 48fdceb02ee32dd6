import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { NativeConnection, Worker } from '@temporalio/worker';
import { afterEach, expect, test } from 'vitest';
import { NodeClients } from '../src/engines/reference/node-clients.js';
import { ReferenceRegionEngine } from '../src/engines/reference/regions.js';
import { readTransport } from '../src/model/transport.js';
import { Credentials } from '../src/rpc/credentials.js';
import { type Steward, startSteward } from '../test/support/steward.js';
import { createBareActivities } from './bare-activities.js';

/**
 * 1,000 region groups of 3 replicas created and removed, against a bare workflow with one activity for each replica RPC, on
 * the same server and nodes in the same run.
 */
const GROUPS = 1_000;
const NODES = ['node-1', 'node-2', 'node-3'];
const LEAST_RATIO = 10;

let steward: Steward | undefined;
afterEach(async () => {
  await steward?.stop();
  steward = undefined;
});

test('nodes whose effect is a ledger entry: at least 10 times the groups per second of a bare workflow', async () => {
  const measured = await measure('ledger');
  report('ledger entries', measured);
  expect(measured.steward.both / measured.bare.both).toBeGreaterThanOrEqual(LEAST_RATIO);
}, 300_000);

test('nodes with real directories', async () => {
  report('real directories', await measure('disk'));
}, 300_000);

/** Region groups per second. */
interface Rates {
  readonly create: number;
  readonly remove: number;
  readonly both: number;
}

async function measure(regions: 'ledger' | 'disk') {
  steward = await startSteward({
    nodeFlags: [`--regions=${regions}`],
    nodeEnv: { STEWARD_LOG_LEVEL: 'warn' },
    workerEnv: { STEWARD_LOG_LEVEL: 'warn', STEWARD_RPC_DEADLINE_MS: '5000' },
  });
  await steward.nodesAlive();
  const bare = await measureBare(steward);
  // Once unmeasured, so that both sides have warm processes and connections.
  await createAndRemove(steward, 'warm-up', 50);
  const residentBefore = residentMiB(steward.worker.pid);
  const run = await createAndRemove(steward, 'thousand', GROUPS);
  const residentAfter = residentMiB(steward.worker.pid);
  return { steward: run.rates, bare, events: run.events, residentBefore, residentAfter };
}

async function createAndRemove(on: Steward, database: string, count: number) {
  await on.client.databases.create({ name: database });
  const creation = await timed(async () => {
    const handle = await on.client.regionGroups.create({
      database,
      kind: 'DATA',
      groups: count,
      replicationFactor: NODES.length,
    });
    await handle.result();
    return handle.operationId;
  });
  const groups = (await on.client.regionGroups.list({ database })).map(({ groupId }) => groupId);
  const removal = await timed(async () => {
    const handle = await on.client.regionGroups.remove({ groups });
    await handle.result();
    return handle.operationId;
  });
  const events = await Promise.all(
    [creation.value, removal.value].map(async (id) => (await on.events(id)).total),
  );
  return { rates: rates(count, creation.seconds, removal.seconds), events };
}

async function measureBare(on: Steward): Promise<Rates> {
  const clients = new NodeClients(5_000, new Credentials(readTransport({})));
  const nodes = new Map(
    (await on.client.nodes.list()).map(({ nodeId, ledgerId, address }) => [
      nodeId,
      { nodeId, ledgerId, address },
    ]),
  );
  const connection = await NativeConnection.connect({ address: on.temporalAddress });
  const worker = await Worker.create({
    connection,
    taskQueue: 'bare',
    workflowsPath: fileURLToPath(new URL('./bare-workflow.ts', import.meta.url)),
    activities: createBareActivities(new ReferenceRegionEngine(clients), randomUUID(), nodes),
  });
  try {
    return await worker.runUntil(async () => {
      const run = async (verb: 'create' | 'delete', first: number, groups: number) =>
        timed(() =>
          on.temporal.client.workflow.execute('changeReplicas', {
            taskQueue: 'bare',
            workflowId: `bare/${verb}/${first}`,
            // Longer than the server's default here, so that a busy machine costs it no repeated workflow task.
            workflowTaskTimeout: '30s',
            args: [verb, first, groups, NODES],
          }),
        );
      await run('create', 100_000, 50);
      const created = await run('create', 1, GROUPS);
      const removed = await run('delete', 1, GROUPS);
      return rates(GROUPS, created.seconds, removed.seconds);
    });
  } finally {
    await connection.close();
    clients.close();
  }
}

async function timed<T>(work: () => Promise<T>): Promise<{ value: T; seconds: number }> {
  const start = performance.now();
  const value = await work();
  return { value, seconds: (performance.now() - start) / 1_000 };
}

function rates(groups: number, createSeconds: number, removeSeconds: number): Rates {
  return {
    create: groups / createSeconds,
    remove: groups / removeSeconds,
    both: (2 * groups) / (createSeconds + removeSeconds),
  };
}

function residentMiB(pid: number): number {
  const kib = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Math.round(Number(kib) / 1_024);
}

function report(
  nodes: string,
  { steward: ours, bare, events, residentBefore, residentAfter }: Awaited<ReturnType<typeof measure>>,
): void {
  const line = (name: string, { create, remove, both }: Rates) =>
    `${name.padEnd(10)} create ${create.toFixed(0).padStart(6)}/s   remove ${remove.toFixed(0).padStart(6)}/s   both ${both.toFixed(0).padStart(6)}/s`;
  console.log(
    [
      `${GROUPS} region groups of ${NODES.length} replicas, ${nodes}`,
      line('steward', ours),
      line('bare', bare),
      `ratio      ${(ours.both / bare.both).toFixed(1)}; events ${events.join(' and ')}; worker ${residentBefore} -> ${residentAfter} MiB`,
    ].join('\n'),
  );
}
