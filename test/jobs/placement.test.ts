import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Catalog } from '../../src/catalog/catalog.js';
import { claimJob } from '../../src/catalog/jobs/claim.js';
import type { JobKey } from '../../src/catalog/jobs/rows.js';
import { scheduleJob } from '../../src/catalog/jobs/scheduling.js';
import { registerNode } from '../../src/catalog/nodes.js';
import { createLogger } from '../../src/log.js';
import { placeTaskGroups } from '../../src/rules/placement.js';
import { startCatalog } from '../support/catalog.js';
import { rateJob } from '../support/jobs.js';

const log = createLogger('test');
const NODE_TIMEOUT_MS = 600_000;
let catalog: Catalog;
let started: Awaited<ReturnType<typeof startCatalog>>;
beforeAll(async () => {
  started = await startCatalog();
  ({ catalog } = started);
});
beforeEach(async () => {
  await catalog.deleteFrom('task_group').execute();
  await catalog.deleteFrom('node').execute();
});
afterAll(() => started.stop());

test('task groups are spread as evenly as places allow, all of a job or none', () => {
  const host = fc.record({
    taskGroups: fc.nat(8),
    maxTaskGroups: fc.option(fc.integer({ min: 1, max: 8 }), { nil: undefined }),
  });
  fc.assert(
    fc.property(fc.array(host, { maxLength: 5 }), fc.nat(20), (found, count) => {
      const hosts = found.map(({ taskGroups, maxTaskGroups }, at) => ({
        nodeId: `node-${at}`,
        taskGroups,
        ...(maxTaskGroups !== undefined && { maxTaskGroups }),
      }));
      const free = (of: (typeof hosts)[number]) =>
        Math.max(0, (of.maxTaskGroups ?? Number.POSITIVE_INFINITY) - of.taskGroups);
      const places = hosts.reduce((sum, one) => sum + free(one), 0);
      const chosen = placeTaskGroups(hosts, count);
      expect(chosen?.length).toBe(places >= count ? count : undefined);
      const given = (of: (typeof hosts)[number]) =>
        chosen?.filter((nodeId) => nodeId === of.nodeId).length ?? 0;
      for (const one of hosts) {
        expect(given(one)).toBeLessThanOrEqual(free(one));
        for (const other of hosts) {
          // Whoever was given one had, before that, no more than any that still has a place.
          if (given(one) === 0 || given(other) === free(other)) continue;
          expect(one.taskGroups + given(one) - 1).toBeLessThanOrEqual(other.taskGroups + given(other));
        }
      }
    }),
  );
});

test('jobs that are scheduled at the same time are never given the same place', async () => {
  await node('node-1', { maxTaskGroups: 3 });
  await node('node-2', { maxTaskGroups: 2 });
  const keys = await Promise.all(Array.from({ length: 8 }, (_, at) => claimed(`rush-${at}`)));
  const answers = await Promise.all(keys.map((key) => scheduleJob(catalog, key, NODE_TIMEOUT_MS, log)));
  expect(answers.filter((one) => one !== 'GONE' && 'state' in one && one.state === 'SCHEDULED')).toHaveLength(
    5,
  );
  expect(answers.filter((one) => one !== 'GONE' && 'kind' in one)).toHaveLength(3);
  expect(await taken()).toEqual({ 'node-1': 3, 'node-2': 2 });
});

test('a job whose task groups have not all a place is not placed at all, and says how many are free', async () => {
  await node('node-1', { maxTaskGroups: 3 });
  const small = await claimed('small', 2);
  const large = await claimed('large', 2);
  expect(await scheduleJob(catalog, small, NODE_TIMEOUT_MS, log)).toMatchObject({ state: 'SCHEDULED' });
  expect(await scheduleJob(catalog, large, NODE_TIMEOUT_MS, log)).toEqual({
    kind: 'NO_PLACE',
    taskGroups: 2,
    nodes: 1,
    taken: 2,
    places: 3,
  });
  expect(await taken()).toEqual({ 'node-1': 2 });
});

test('a node without the capability, or without a heartbeat, is given nothing, however idle it is', async () => {
  await node('node-1', { capabilities: ['regions', 'resources'] });
  await node('node-2');
  await catalog
    .updateTable('node')
    .set({ last_heartbeat: new Date(0) })
    .where('node_id', '=', 'node-2')
    .execute();
  const key = await claimed('picky', 3);
  expect(await scheduleJob(catalog, key, NODE_TIMEOUT_MS, log)).toMatchObject({ kind: 'NO_PLACE', nodes: 0 });
  await node('node-3');
  expect(await scheduleJob(catalog, key, NODE_TIMEOUT_MS, log)).toMatchObject({ state: 'SCHEDULED' });
  expect(await taken()).toEqual({ 'node-3': 3 });
});

async function node(
  nodeId: string,
  { capabilities = ['task-groups'], maxTaskGroups }: { capabilities?: string[]; maxTaskGroups?: number } = {},
): Promise<void> {
  const address = 'http://127.0.0.1:1';
  const ids = { nodeId, ledgerId: randomUUID(), bootId: randomUUID() };
  await registerNode(catalog, { ...ids, address, capabilities, maxTaskGroups }, NODE_TIMEOUT_MS);
}

async function claimed(jobId: string, taskGroups = 1): Promise<JobKey> {
  const key = { jobId, owner: randomUUID() };
  const job = rateJob('/sink', { rows: 10, taskGroups });
  await claimJob(catalog, { ...key, job, fromSavepoint: false, actor: 'tester' }, { resume: false }, log);
  return key;
}

/** How many task groups each node was given. */
async function taken(): Promise<Record<string, number>> {
  const rows = await catalog
    .selectFrom('task_group')
    .select('node_id')
    .where('node_id', 'is not', null)
    .execute();
  const nodes = rows.map(({ node_id }) => node_id!).sort();
  return Object.fromEntries(
    [...new Set(nodes)].map((one) => [one, nodes.filter((node_id) => node_id === one).length]),
  );
}
