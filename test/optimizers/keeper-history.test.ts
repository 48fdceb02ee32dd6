import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { createOptimizerGroup } from '../../src/catalog/optimizing/groups.js';
import type { GroupSettings } from '../../src/rules/keeping.js';
import type { KeeperView } from '../../workflows/optimizers/keeper.js';
import { eventually } from '../support/eventually.js';
import { type KeeperSteward, QUICK, startKeeperSteward } from './keeper-steward.js';

/** What a keeper costs in history, and what survives when its history begins anew. */
let steward: KeeperSteward;

vi.setConfig({ testTimeout: 120_000 });
beforeAll(async () => {
  steward = await startKeeperSteward({ nodes: 1 });
});
afterAll(() => steward?.stop());

test('50 groups of 20 resources: at most 12 events in a cycle, and all are kept', async () => {
  const names = Array.from({ length: 50 }, (_, index) => `many-${index}`);
  for (const name of names) await makeGroup(name, { autoRestart: true, gracePeriodMs: 60_000 });
  for (const name of names) await fill(name, 20);
  const cyclesPerRun = 3;
  await Promise.all(names.map((name) => keep(name, { intervalMs: 500, cyclesPerRun })));
  const first = await Promise.all(
    names.map((name) =>
      eventually(
        `the first run of ${name} is over`,
        async () => {
          const handle = handleOf(name);
          const { firstExecutionRunId } = await firstRun(name);
          return (await handle.describe()).runId !== firstExecutionRunId && firstExecutionRunId;
        },
        60_000,
      ),
    ),
  );
  for (const [index, name] of names.entries()) {
    const { events: found } = await steward.temporal.client.workflow
      .getHandle(keeperId(name), first[index])
      .fetchHistory();
    const events = found ?? [];
    const cycles = events.filter((event) => event.activityTaskScheduledEventAttributes != null).length;
    expect(cycles).toBe(cyclesPerRun);
    // Start and end of the run are no part of a cycle, nor are tasks that a busy machine did not do in time.
    const late = events.filter(
      (event) => event.workflowTaskTimedOutEventAttributes ?? event.workflowTaskFailedEventAttributes,
    );
    expect(events.length - 6 - 3 * late.length).toBeLessThanOrEqual(12 * cycles);
    const { state, report } = await view(name);
    expect(Object.keys(state.orphans)).toHaveLength(10);
    expect(report).toMatchObject({ liveOptimizers: 10, liveThreads: 20, restarted: [], requested: [] });
  }
  await Promise.all(names.map((name) => handleOf(name).terminate('done')));
});

test('attempts, graces, what was told and why it is paused survive continue-as-new', async () => {
  const name = 'carried';
  await makeGroup(name, { autoRestart: true, gracePeriodMs: 300, maxRetries: 1_000 }, 'hollow');
  await fill(name, 2, 'hollow');
  await steward.catalog
    .updateTable('optimizer_resource')
    .set({ container: 'external' })
    .where('resource_id', '=', 'carried-2')
    .execute();
  await keep(name, { intervalMs: 100, cyclesPerRun: 2 });
  const seen = await eventually(
    'five restarts',
    async () => {
      const { orphans } = (await view(name)).state;
      return (orphans['carried-1']?.attempts ?? 0) >= 5 && orphans;
    },
    60_000,
  );
  expect((await firstRun(name)).runs).toBeGreaterThan(2);
  expect(seen['carried-1']!.launch).toBe(seen['carried-1']!.attempts + 1);
  const launches = steward
    .calls(name)
    .filter(({ resourceId }) => resourceId === 'carried-1')
    .map(({ launch }) => launch);
  expect(launches).toEqual(launches.map((_, index) => index + 2));
  expect(steward.said(name).filter((line) => line['resource'] === 'carried-2')).toHaveLength(1);
  await steward.client.optimizerGroups.pause(name, 'for a look');
  expect((await steward.show(name)).keeper).toEqual({ state: 'PAUSED', reason: 'for a look (tester)' });
  const calls = steward.calls(name).length;
  const { state } = await view(name);
  await steward.client.optimizerGroups.scale(name, { maxRetries: 999 });
  await steward.client.optimizerGroups.pause(name, 'still');
  await steward.client.optimizerGroups.pause(name, 'still');
  const { orphans } = (await view(name)).state;
  expect(orphans).toEqual(state.orphans);
  expect(steward.calls(name)).toHaveLength(calls);
  await steward.client.optimizerGroups.resume(name);
  await eventually('it goes on where it was', async () => {
    const { attempts } = (await view(name)).state.orphans['carried-1']!;
    return attempts > seen['carried-1']!.attempts;
  });
  await steward.client.optimizerGroups.reset(name);
  await eventually('attempts begin anew', async () => {
    const { attempts } = (await view(name)).state.orphans['carried-1'] ?? { attempts: 0 };
    return attempts < 3;
  });
  await handleOf(name).terminate('done');
});

test('Updates that meet continue-as-new are neither lost nor refused', async () => {
  const name = 'updated';
  await makeGroup(name, {});
  await keep(name, { intervalMs: 50, cyclesPerRun: 1 });
  for (let value = 1; value <= 30; value += 1) {
    await steward.client.optimizerGroups.scale(name, { maxRetries: value });
    const { settings } = (await steward.client.optimizerGroups.list()).find((group) => group.name === name)!;
    expect(settings.maxRetries).toBe(value);
  }
  await Promise.all(
    Array.from({ length: 8 }, (_, index) =>
      index % 2 === 0
        ? steward.client.optimizerGroups.scale(name, { maxKeepingAttempts: 7 })
        : steward.client.optimizerGroups.scale(name, { memoryMbPerOptimizer: 256 }),
    ),
  );
  expect((await steward.show(name)).settings).toMatchObject({
    maxRetries: 30,
    maxKeepingAttempts: 7,
    memoryMbPerOptimizer: 256,
  });
  expect((await firstRun(name)).runs).toBeGreaterThan(10);
  await handleOf(name).terminate('done');
});

function keeperId(name: string): string {
  return `optimizer-group/${name}`;
}

function handleOf(name: string) {
  return steward.temporal.client.workflow.getHandle(keeperId(name));
}

async function view(name: string): Promise<KeeperView> {
  return handleOf(name).query<KeeperView>('state');
}

const started = new Map<string, string>();

async function keep(name: string, times: { intervalMs: number; cyclesPerRun: number }): Promise<void> {
  const handle = await steward.temporal.client.workflow.start('keepOptimizerGroup', {
    workflowId: keeperId(name),
    taskQueue: 'steward',
    args: [{ group: name, actor: 'tester', ...times }],
  });
  started.set(name, handle.firstExecutionRunId);
}

async function firstRun(name: string): Promise<{ firstExecutionRunId: string; runs: number }> {
  const firstExecutionRunId = started.get(name)!;
  const { cycle } = (await view(name)).state;
  return { firstExecutionRunId, runs: cycle };
}

async function makeGroup(name: string, settings: Partial<GroupSettings>, container = 'local'): Promise<void> {
  await createOptimizerGroup(steward.catalog, {
    name,
    container,
    properties: {},
    settings: { ...QUICK, ...settings },
    actor: 'tester',
  });
}

/** Resources that were started; every second one has an optimizer that lives for as long as the test. */
async function fill(name: string, count: number, container = 'local'): Promise<void> {
  const ids = Array.from({ length: count }, (_, index) => `${name}-${index + 1}`);
  await steward.catalog
    .insertInto('optimizer_resource')
    .values(
      ids.map((resource_id) => ({
        resource_id,
        group_name: name,
        container,
        node_id: null,
        state: 'STARTED' as const,
        epoch: 1,
        threads: 2,
        memory_mb: 128,
        properties: '{}',
        process_id: null,
        last_error: null,
        registered_launch: 1,
        created_by: 'tester',
      })),
    )
    .execute();
  if (count < 10) return;
  await steward.catalog
    .insertInto('optimizer')
    .values(
      ids
        .filter((_, index) => index % 2 === 0)
        .map((resource_id) => ({
          resource_id,
          group_name: name,
          launch: 1,
          threads: 2,
          memory_mb: 128,
          node_id: null,
          last_touch: new Date(Date.now() + 3_600_000),
        })),
    )
    .execute();
}
