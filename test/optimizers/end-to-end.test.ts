import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { catalogId } from '../../src/catalog/catalog.js';
import { planTaskAgain } from '../../src/catalog/optimizing/handing-out.js';
import { taskOutput } from '../../src/warehouse/table-directory.js';
import { type NodeProcess, startNode } from '../node/node-process.js';
import { ended, finish, type Operation, submit } from '../node/region-operations.js';
import { GROUP, type OptimizingRoom, optimizingRoom, upTo } from '../optimizing/optimizing-room.js';
import { eventually } from '../support/eventually.js';
import { freePort } from '../support/ports.js';
import { startProgram, type TestProcess } from '../support/processes.js';
import { linesOf } from './optimizer-process.js';
import { gone, release, request, type Wanted } from './resource-operations.js';

/** Catalog, coordinator, node and optimizer, each the real one; only workflows are done by hand. */
let room: OptimizingRoom;
let coordinator: TestProcess;
let node: NodeProcess;
let catalog: string;

vi.setConfig({ testTimeout: 60_000 });

beforeAll(async () => {
  room = await optimizingRoom();
  catalog = await catalogId(room.catalog);
  const listen = `127.0.0.1:${await freePort()}`;
  coordinator = await startProgram({
    name: 'coordinator',
    program: 'src/coordinator/main.ts',
    directory: room.directory,
    args: [`--listen=${listen}`],
    // No workflow is started here: the tests commit by hand.
    env: { DATABASE_URL: room.url, TEMPORAL_ADDRESS: '127.0.0.1:1', STEWARD_HEARTBEAT_INTERVAL_MS: '200' },
  });
  node = await startNode({ flags: [`--coordinator=http://${listen}`] });
});
afterEach(async () => {
  // No optimizer takes the tasks of the next test.
  const { resources } = await node.inventory.listResources({ node: node.ref });
  const ids = resources.flatMap(({ resource }) => resource?.resourceId ?? []);
  await finish(node, ...ids.map((id) => release(id, { epoch: 9, catalogId: catalog })));
});
afterAll(async () => {
  await node.end();
  await coordinator.stop();
  await room.stop();
});

test('small files become one, every row once', async () => {
  const table = await room.filled(15);
  await launch(await room.resource());
  const process = await plan(table);
  await committing(table);
  expect(await room.commit(process)).toMatchObject({ kind: 'COMMITTED' });
  expect(await room.status(table)).toMatchObject({ status: 'IDLE', files: 1, rows: 45 });
  expect(await room.ids(table)).toEqual(upTo(45));
});

test('a result whose answer was lost is told again after its commit: it is on record, and the file stays', async () => {
  const table = await room.filled(4);
  const resource = await room.resource();
  const first = await launch(resource, { properties: { 'hold-at': 'completed' } });
  const process = await plan(table);
  await committing(table);
  await killed(first);
  await room.commit(process);
  await relaunch(resource);
  await acknowledged(resource);
  expect(merges(resource)).toBe(1);
  expect(await room.ids(table)).toEqual(upTo(12));
  expect((await room.tasks(process)).map(({ state, attempt }) => [state, attempt])).toEqual([['SUCCESS', 1]]);
});

test('a result that was not told is completed under the next token, and not merged again', async () => {
  const table = await room.filled(4);
  const resource = await room.resource();
  const first = await launch(resource, { properties: { 'hold-at': 'recorded' } });
  const process = await plan(table);
  await waiting(resource);
  await killed(first);
  await relaunch(resource);
  await committing(table);
  await room.commit(process);
  await acknowledged(resource);
  expect(merges(resource)).toBe(1);
  expect(await room.ids(table)).toEqual(upTo(12));
});

test('a result that comes after the task was planned again is dropped with its file; the new attempt counts', async () => {
  const table = await room.filled(4);
  const resource = await room.resource();
  const first = await launch(resource, { properties: { 'hold-at': 'recorded' } });
  const process = await plan(table);
  await waiting(resource);
  await killed(first);
  expect(await planTaskAgain(room.catalog, { processId: process, taskNo: 1, attempt: 1 }, 'a test')).toBe(
    true,
  );
  await relaunch(resource);
  await committing(table);
  await room.commit(process);
  expect(await room.ids(table)).toEqual(upTo(12));
  const output = (attempt: number) => taskOutput(process, 1, attempt);
  const location = await room.location(table);
  await eventually('the stale file is gone', () => !existsSync(join(location, output(1))));
  expect((await room.files(table)).map(({ path }) => path)).toEqual([output(2)]);
  expect(merges(resource)).toBe(2);
});

test('a task that was cut short is planned again at once, by its next process', async () => {
  const table = await room.filled(4);
  const resource = await room.resource();
  const first = await launch(resource, { properties: { 'hold-at': 'acked' } });
  const process = await plan(table);
  await eventually('it is begun', async () => (await room.tasks(process))[0]?.state === 'ACKED');
  await killed(first);
  await relaunch(resource);
  await committing(table);
  expect(
    (await room.tasks(process)).map(({ state, attempt, failures }) => [state, attempt, failures]),
  ).toEqual([['SUCCESS', 2, 1]]);
});

test('a coordinator that is killed while the result is told, and comes back, has it once', async () => {
  const table = await room.filled(4);
  const resource = await room.resource();
  await launch(resource, { properties: { 'merge-delay-ms': '300' } });
  const process = await plan(table);
  await eventually('it is begun', async () => (await room.tasks(process))[0]?.state === 'ACKED');
  await coordinator.kill();
  await waiting(resource);
  await coordinator.restart();
  await committing(table);
  await room.commit(process);
  await acknowledged(resource);
  expect(merges(resource)).toBe(1);
  expect(await room.ids(table)).toEqual(upTo(12));
});

test('an optimizer whose resource is released in the catalog ends', async () => {
  const resource = await room.resource();
  const processId = await launch(resource);
  await room.catalog
    .updateTable('optimizer_resource')
    .set({ state: 'RELEASING' })
    .where('resource_id', '=', resource)
    .execute();
  await gone(processId);
});

/** Starts the resource on the node; resolves with its process when that has registered. */
async function launch(resourceId: string, wanted: Wanted & { epoch?: number } = {}): Promise<string> {
  const operation: Operation = request(resourceId, { ...wanted, group: GROUP, catalogId: catalog });
  await submit(node, operation);
  expect(await ended(node, operation)).toBe('SUCCESS');
  await eventually('it has registered', async () => {
    const { launch } = (await room.catalog
      .selectFrom('optimizer')
      .select('launch')
      .where('resource_id', '=', resourceId)
      .executeTakeFirst()) ?? { launch: 0 };
    return launch === (wanted.epoch ?? 1);
  });
  return (await resourceInfo(resourceId)).processId;
}

/** The second launch, as the keeper of the group would ask for it. */
async function relaunch(resourceId: string): Promise<string> {
  await room.catalog
    .updateTable('optimizer_resource')
    .set({ epoch: 2 })
    .where('resource_id', '=', resourceId)
    .execute();
  return launch(resourceId, { epoch: 2 });
}

async function killed(processId: string): Promise<void> {
  process.kill(Number.parseInt(processId, 10), 'SIGKILL');
  await gone(processId);
}

async function plan(table: string): Promise<number> {
  return room.plan(table);
}

async function committing(table: string): Promise<void> {
  await eventually(`${table} is COMMITTING`, async () => (await room.status(table)).status === 'COMMITTING');
}

async function waiting(resourceId: string): Promise<void> {
  await eventually('a result waits', async () => (await resourceInfo(resourceId)).unacknowledged === 1);
}

async function acknowledged(resourceId: string): Promise<void> {
  await eventually('the outbox is empty', async () => (await resourceInfo(resourceId)).unacknowledged === 0);
}

async function resourceInfo(resourceId: string) {
  const { resources } = await node.inventory.listResources({ node: node.ref });
  const found = resources.find(({ resource }) => resource?.resourceId === resourceId);
  if (found === undefined) throw new Error(`the node lists no ${resourceId}`);
  return found;
}

function merges(resourceId: string): number {
  const log = join(node.data, 'resources', catalog, resourceId, 'optimizer.log');
  return linesOf(log).filter(({ msg }) => msg === 'merge done').length;
}
