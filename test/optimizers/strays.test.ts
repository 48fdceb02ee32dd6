import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { MockActivityEnvironment } from '@temporalio/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createStrayActivities, surveyOptimizers } from '../../activities/optimizers/sweep-optimizers.js';
import { findNode } from '../../src/catalog/nodes.js';
import { setGroupSettings } from '../../src/catalog/optimizers/keeping.js';
import { NodeClients } from '../../src/engines/reference/node-clients.js';
import { ReferenceOptimizerEngine } from '../../src/engines/reference/optimizers.js';
import { createLogger } from '../../src/log.js';
import { readTransport } from '../../src/model/transport.js';
import { Credentials } from '../../src/rpc/credentials.js';
import { findStrays, launchesAhead } from '../../src/rules/sweep.js';
import { eventually } from '../support/eventually.js';
import { type KeeperSteward, QUICK, startKeeperSteward } from './keeper-steward.js';
import { type LogLine, linesOf } from './optimizer-process.js';

let steward: KeeperSteward;
let clients: NodeClients;
beforeAll(async () => {
  clients = new NodeClients(2_000, new Credentials(readTransport({})));
  // A node that is away for 2 s is not alive: what it had is launched elsewhere.
  const soon = { STEWARD_NODE_TIMEOUT_MS: '2000' };
  steward = await startKeeperSteward({ workerEnv: soon, coordinatorEnv: soon });
});
afterAll(async () => {
  clients.close();
  await steward?.stop();
});

test('I4: an optimizer that was launched elsewhere while its node was away is told, and ended there in repair alone', async () => {
  const group = await steward.group('moving', { ...QUICK, minParallelism: 2 });
  const [resource] = await steward.live(group, 1);
  const { resourceId, nodeId: old } = resource!;
  // The machine is lost: the node and what it runs.
  await steward.node(old!).kill();
  await steward.killProcess(resource!);
  const moved = await eventually('it is launched on the other node', async () => {
    const [one] = await steward.live(group, 1);
    return one?.resourceId === resourceId && one.nodeId !== old && one;
  });
  await steward.node(old!).restart();
  await steward.nodesAlive();

  const observed = await sweep('observe');
  expect(straysOn(observed, old!)).toEqual([
    { resourceId, because: 'MOVED', releaseEpoch: (await row(resourceId)).epoch },
  ]);
  expect(straysOn(observed, moved.nodeId!)).toEqual([]);
  expect(observed.released).toBe(0);
  expect(existsSync(place(old!, resourceId))).toBe(true);

  // What its node fails to release is told, and asked for again by each sweep, at the same launch: the node is never asked
  // for one that the catalog has not made, which would look like a catalog that is behind.
  await steward.fault(old!, {
    target: 'release-resource',
    match: resourceId,
    kind: { case: 'fail', value: { message: 'the disk is read-only' } },
  });
  for (const failures of [1, 2, 3]) {
    const failing = await sweep('repair');
    expect(failing.released).toBe(0);
    expect(straysOn(failing, old!)).toEqual(straysOn(observed, old!));
    expect(notEnded(resourceId).map(({ status }) => status)).toEqual(
      Array.from({ length: failures }, () => ({
        state: 'FAIL',
        code: 'INTERNAL',
        message: 'the disk is read-only',
      })),
    );
  }
  await steward.clearFaults(old!);

  expect((await sweep('repair')).released).toBe(1);
  expect(existsSync(place(old!, resourceId))).toBe(false);
  const [kept] = await steward.live(group, 1);
  expect(kept).toMatchObject({ resourceId, nodeId: moved.nodeId });
  expect(straysOn(await sweep('repair'), old!)).toEqual([]);
}, 60_000);

test('I4: an optimizer that an operator made the catalog forget is told, and ended in repair; a live one is not touched', async () => {
  const group = await steward.group('forgotten', { ...QUICK, autoRestart: false, minParallelism: 2 });
  const [resource] = await steward.live(group, 1);
  const { resourceId, nodeId } = resource!;
  await setGroupSettings(steward.catalog, group, { minParallelism: 0 });
  await steward.killProcess(resource!);
  await steward.live(group, 0);
  await steward.client.optimizerGroups.forgetResource(group, resourceId);

  const observed = await sweep('observe');
  expect(straysOn(observed, nodeId!)).toEqual([{ resourceId, because: 'FORGOTTEN', releaseEpoch: 2 }]);
  expect((await sweep('repair')).released).toBe(1);
  expect(existsSync(place(nodeId!, resourceId))).toBe(false);
  await steward.live('moving', 1);
}, 60_000);

test('a node that accepted a launch that the catalog has not made is ahead of it: nothing is ended there', async () => {
  const [resource] = await steward.live('moving', 1);
  const { resourceId, nodeId } = resource!;
  const { epoch } = await row(resourceId);
  expect(epoch).toBeGreaterThan(1);
  await setEpoch(resourceId, epoch - 1);
  try {
    const repaired = await sweep('repair');
    expect(survey(repaired, nodeId!).unreachable).toMatch(
      new RegExp(`CATALOG_BEHIND: ${nodeId} accepted launch ${epoch} of ${resourceId}`),
    );
    expect(repaired.released).toBe(0);
  } finally {
    await setEpoch(resourceId, epoch);
  }
  expect(existsSync(place(nodeId!, resourceId))).toBe(true);
});

test('what changes between two looks, or between look and release, is left alone; a pause holds releases', async () => {
  const [resource] = await steward.live('moving', 1);
  const { resourceId } = resource!;
  const nodeId = resource!.nodeId!;
  const other = steward.nodes.map(({ name }) => name).find((name) => name !== nodeId)!;
  const dependencies = strayDependencies();
  const { optimizers } = dependencies;
  const node = (await findNode(steward.catalog, nodeId))!;
  try {
    await setNode(resourceId, other);
    const [stray] = await surveyOptimizers(dependencies, node);
    expect(stray).toMatchObject({ resourceId, because: 'MOVED' });

    let looks = 0;
    const listResources: typeof optimizers.listResources = async function* (...of) {
      looks += 1;
      if (looks === 2) await setNode(resourceId, nodeId);
      yield* optimizers.listResources(...of);
    };
    const changing = Object.assign(new ReferenceOptimizerEngine(clients), { listResources });
    expect(await surveyOptimizers({ ...dependencies, optimizers: changing }, node)).toEqual([]);
    expect(looks).toBe(2);

    const activities = createStrayActivities(dependencies);
    const release = { ...stray!, releaseEpoch: stray!.releaseEpoch + 1 };
    const releases = () =>
      new MockActivityEnvironment().run(() => activities.releaseStrays(nodeId, [release]));
    expect(await releases()).toBe(0);
    expect(existsSync(place(nodeId, resourceId))).toBe(true);

    await steward.client.operations.pause(undefined, 'the disks are looked at');
    await expect(releases()).rejects.toThrow(
      `${nodeId}: releases of stray optimizers: BLOCKED: PAUSED with everything by tester: the disks are looked at`,
    );
    await steward.client.operations.resume(undefined);
  } finally {
    await setNode(resourceId, nodeId);
  }
});

test('a stray that only the second look finds is left to the next sweep; one on a node that went away as well, and ended once it is back', async () => {
  const dependencies = strayDependencies();
  const { optimizers } = dependencies;
  const [resource] = await steward.live('moving', 1);
  // The one that runs nothing: what it is away for is nobody's time-out.
  const { name } = steward.nodes.find((one) => one.name !== resource!.nodeId)!;
  const node = (await findNode(steward.catalog, name))!;
  const plant = (resourceId: string) => mkdirSync(place(name, resourceId), { recursive: true });
  plant('nobody-1');
  let looks = 0;
  const listResources: typeof optimizers.listResources = async function* (...of) {
    looks += 1;
    if (looks === 2) plant('nobody-2');
    yield* optimizers.listResources(...of);
  };
  const growing = Object.assign(new ReferenceOptimizerEngine(clients), { listResources });
  const found = await surveyOptimizers({ ...dependencies, optimizers: growing }, node);
  expect(looks).toBe(2);
  expect(found.map(({ resourceId }) => resourceId)).toEqual(['nobody-1']);
  const both = await surveyOptimizers(dependencies, node);
  expect(both.map(({ resourceId }) => resourceId)).toEqual(['nobody-1', 'nobody-2']);

  const activities = createStrayActivities(dependencies);
  const release = () => new MockActivityEnvironment().run(() => activities.releaseStrays(name, both));
  await steward.node(name).kill();
  expect(await release()).toBe(0);
  const away = survey(await sweep('repair'), name);
  expect(away.unreachable).toContain('does not answer');
  await steward.node(name).restart();
  await steward.nodesAlive();

  expect((await sweep('repair')).released).toBe(2);
  expect(both.map(({ resourceId }) => existsSync(place(name, resourceId)))).toEqual([false, false]);
  const releases = steward.effects(name, 'release-resource').filter((id) => id.includes('/nobody-'));
  expect(releases.map((id) => id.replace(/^.*@/, '@'))).toEqual(['@1#1', '@1#1']);
  await steward.live('moving', 1);
}, 60_000);

test('what is released is not below what the node accepted, and never above the launch that runs elsewhere', () => {
  const placed = new Map(
    [
      { resourceId: 'here', nodeId: 'a', epoch: 3 },
      { resourceId: 'moved', nodeId: 'b', epoch: 5 },
      // Its release was accepted before, and failed.
      { resourceId: 'failed', nodeId: 'b', epoch: 3 },
      { resourceId: 'unplaced', nodeId: null, epoch: 1 },
    ].map((one) => [one.resourceId, one]),
  );
  const held = ['here', 'moved', 'failed', 'unplaced', 'unknown'].map((resourceId) => ({
    resourceId,
    epoch: 3,
  }));
  expect(findStrays('a', held, placed)).toEqual([
    { resourceId: 'moved', because: 'MOVED', releaseEpoch: 5 },
    { resourceId: 'failed', because: 'MOVED', releaseEpoch: 3 },
    { resourceId: 'unknown', because: 'FORGOTTEN', releaseEpoch: 4 },
  ]);
  expect(launchesAhead(held, placed).map(({ resourceId }) => resourceId)).toEqual(['unplaced']);
});

function strayDependencies() {
  const { catalog, catalogId } = steward;
  return {
    catalog,
    catalogId,
    optimizers: new ReferenceOptimizerEngine(clients),
    log: createLogger('test'),
  };
}

/** What the worker told of releases of the resource that were not made. */
function notEnded(resourceId: string): LogLine[] {
  return linesOf(steward.worker.logFile).filter(
    ({ msg, resource }) => msg?.startsWith('stray optimizer not ended') && resource === resourceId,
  );
}

async function sweep(mode: 'observe' | 'repair') {
  return (await steward.client.sweeps.run({ mode, gracePeriodMs: 600_000 })).result();
}

function survey({ nodes }: Awaited<ReturnType<typeof sweep>>, nodeId: string) {
  return nodes.find((one) => one.nodeId === nodeId)!;
}

function straysOn(result: Awaited<ReturnType<typeof sweep>>, nodeId: string) {
  return survey(result, nodeId).strays;
}

function place(nodeId: string, resourceId: string): string {
  return join(steward.nodeDirectory(nodeId), 'resources', steward.catalogId, resourceId);
}

async function row(resourceId: string) {
  return steward.catalog
    .selectFrom('optimizer_resource')
    .select('epoch')
    .where('resource_id', '=', resourceId)
    .executeTakeFirstOrThrow();
}

async function setEpoch(resourceId: string, epoch: number): Promise<void> {
  await steward.catalog
    .updateTable('optimizer_resource')
    .set({ epoch })
    .where('resource_id', '=', resourceId)
    .execute();
}

async function setNode(resourceId: string, nodeId: string): Promise<void> {
  await steward.catalog
    .updateTable('optimizer_resource')
    .set({ node_id: nodeId })
    .where('resource_id', '=', resourceId)
    .execute();
}
