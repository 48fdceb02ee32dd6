import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { SCHEDULE_ACTOR } from '../../src/rules/words.js';
import * as workflows from '../../workflows/index.js';
import { eventually } from '../support/eventually.js';
import { rateJob } from '../support/jobs.js';
import { type Steward, startSteward } from '../support/steward.js';

const TYPES = Object.keys(workflows) as (keyof typeof workflows)[];
const GROUP = 'merging';
/** Who wanted those that the test did not ask for itself. */
const ACTORS: Partial<Record<keyof typeof workflows, string>> = {
  commitTable: 'coordinator',
  ensureKeepers: SCHEDULE_ACTOR,
  healStuckCommits: SCHEDULE_ACTOR,
  sweepJobs: SCHEDULE_ACTOR,
  sweepReplicas: SCHEDULE_ACTOR,
  sweepTables: SCHEDULE_ACTOR,
};

let steward: Steward;
/** Of each type one that ran, or runs. */
const started = new Map<string, string>();
beforeAll(async () => {
  steward = await startSteward();
  await steward.nodesAlive();
  await Promise.all([regions(), tables(), job()]);
  for (const { scheduleId } of await steward.client.schedules.list()) {
    await steward.client.schedules.trigger(scheduleId);
  }
  for (const type of TYPES) if (!started.has(type)) started.set(type, await newest(type));
}, 120_000);
afterAll(() => steward?.stop());

async function regions(): Promise<void> {
  const { client } = steward;
  // One replica fails, and is brought later.
  await steward.fault('node-2', {
    target: 'create-region',
    times: 1,
    kind: { case: 'fail', value: { message: 'no room', afterEffect: false } },
  });
  await steward.database('lacking', 1);
  started.set('recreateMissingReplicas', await newest('recreateMissingReplicas'));
  const groups = await steward.database('shown', 1, 1);
  const removal = await client.regionGroups.remove({ groups });
  await removal.result();
  started.set('removeRegionGroups', removal.operationId);
  const deletion = await client.databases.delete('shown');
  await deletion.result();
  started.set('deleteDatabase', deletion.operationId);
  const drain = await client.sweeps.drainLegacyQueue([
    { id: 't1', type: 'DELETE', database: 'lacking', groupId: 999, nodeId: 'node-1' },
    { id: 't2', type: 'CREATE', database: 'lacking', groupId: 998, nodeId: 'node-1' },
  ]);
  await drain.result();
  started.set('drainLegacyQueue', drain.operationId);
}

/** A keeper that has cycles, a timer and every Update, and a table that its optimizer merges. */
async function tables(): Promise<void> {
  const { optimizerGroups, tables: all } = steward.client;
  const settings = { minParallelism: 1, threadsPerOptimizer: 1, memoryMbPerOptimizer: 128 };
  await optimizerGroups.create({ name: GROUP, settings, intervalMs: 300 });
  started.set('keepOptimizerGroup', `optimizer-group/${GROUP}`);
  const { resourceId } = await eventually('its optimizer lives', async () => {
    const { resources } = await optimizerGroups.get(GROUP);
    return resources.find(({ optimizer }) => optimizer?.alive);
  });
  await optimizerGroups.scale(GROUP, { maxRetries: 3 });
  await expect(optimizerGroups.restartNow(GROUP, resourceId)).rejects.toThrow(/live/);
  await optimizerGroups.forgetResource(GROUP, `${GROUP}-gone`);
  await all.create({ name: 'small', group: GROUP });
  for (const id of [1, 2, 3]) {
    const file = join(steward.directory, `small-${id}.csv`);
    writeFileSync(file, `id\n${id}\n`);
    await all.ingest('small', file);
  }
  const planning = await all.optimize('small', { kind: 'FULL' });
  await planning.result();
  started.set('planOptimizing', planning.operationId);
  await eventually('it is merged', async () => (await all.get('small')).files === 1);
}

/** Of which the first execution fails, so that the second one waits for its time. */
async function job(): Promise<void> {
  for (const { name } of steward.nodes) {
    await steward.fault(name, {
      target: 'run-task-group',
      times: 1,
      kind: { case: 'fail', value: { message: 'out of luck', afterEffect: false } },
    });
  }
  const options = { retryTimes: 3, stateCleanupDelayMs: 200 };
  const spec = rateJob(join(steward.directory, 'shown'), { rows: 10 }, options);
  const handle = await steward.client.jobs.submit({ jobId: 'shown', job: spec });
  await handle.result();
  started.set('runJob', 'job/shown');
}

test.each(TYPES)(
  '%s sets actor and phase, details, and a summary on each of its activities and timers',
  async (type) => {
    const handle = steward.temporal.client.workflow.getHandle(started.get(type)!);
    const { searchAttributes } = await handle.describe();
    expect(searchAttributes['StewardActor']).toEqual([ACTORS[type] ?? 'tester']);
    expect(searchAttributes['StewardPhase']).toHaveLength(1);
    const metadata = await handle.query<{ currentDetails?: string }>('__temporal_workflow_metadata');
    expect(metadata.currentDetails).toMatch(/\S/);
    const events = (await handle.fetchHistory()).events ?? [];
    expect(unnamed(events)).toEqual([]);
    // By itself: whoever starts it by hand may not say it to Temporal.
    expect(
      events.flatMap(({ upsertWorkflowSearchAttributesEventAttributes: upsert }) =>
        Object.keys(upsert?.searchAttributes?.indexedFields ?? {}),
      ),
    ).toEqual(expect.arrayContaining(['StewardActor', 'StewardPhase']));
  },
);

test('the histories have timers, and every activity that an Update of a keeper makes', async () => {
  const eventsOf = async (type: string) =>
    (await steward.temporal.client.workflow.getHandle(started.get(type)!).fetchHistory()).events ?? [];
  const keeping = await eventsOf('keepOptimizerGroup');
  const activities = keeping.flatMap(({ activityTaskScheduledEventAttributes: scheduled }) =>
    scheduled?.activityType?.name ? [scheduled.activityType.name] : [],
  );
  expect([...new Set(activities)].sort()).toEqual([
    'forgetResource',
    'keepGroup',
    'launchOfOrphan',
    'setGroupSettings',
  ]);
  for (const type of ['keepOptimizerGroup', 'runJob', 'purgeJobState']) {
    expect(
      (await eventsOf(type)).some(({ timerStartedEventAttributes }) => timerStartedEventAttributes),
      type,
    ).toBe(true);
  }
});

type HistoryEvent = NonNullable<
  Awaited<ReturnType<import('@temporalio/client').WorkflowHandle['fetchHistory']>>['events']
>[number];

/** Activities and timers that the Web UI shows without a summary. */
function unnamed(events: readonly HistoryEvent[]): string[] {
  return events.flatMap(
    ({ userMetadata, activityTaskScheduledEventAttributes, timerStartedEventAttributes }) => {
      if (userMetadata?.summary) return [];
      const activity = activityTaskScheduledEventAttributes?.activityType?.name;
      if (activity) return [activity];
      return timerStartedEventAttributes ? [`timer ${timerStartedEventAttributes.timerId}`] : [];
    },
  );
}

test('what concerns one node alone is found by StewardNode', async () => {
  const { searchAttributes } = await steward.temporal.client.workflow
    .getHandle(started.get('removeRegionGroups')!)
    .describe();
  expect(searchAttributes['StewardNode']).toEqual([expect.stringMatching(/^node-\d$/)]);
});

test('every query in docs/web-ui.md is one that the server takes', async () => {
  const docs = readFileSync(new URL('../../docs/web-ui.md', import.meta.url), 'utf8');
  const queries = [...docs.matchAll(/^\| [^|]+ \| `([^`]+)` \|$/gm)].map(([, query]) => query!);
  expect(queries.length).toBeGreaterThan(8);
  for (const query of queries) {
    const { count } = await steward.temporal.client.workflow.count(query);
    expect(count, query).toBeGreaterThanOrEqual(0);
  }
});

/** The workflow id of one of that type, as soon as it can be found and has ended. */
function newest(type: string): Promise<string> {
  return eventually(`${type} ran`, async () => {
    const query = `WorkflowType = '${type}' AND ExecutionStatus = 'Completed'`;
    for await (const { workflowId } of steward.temporal.client.workflow.list({ query })) return workflowId;
    return undefined;
  });
}
