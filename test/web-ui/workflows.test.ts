import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type * as workflows from '../../workflows/index.js';
import { eventually } from '../support/eventually.js';
import { type Steward, startSteward } from '../support/steward.js';

/** Those that this file starts; the others need tables, groups, jobs or a legacy queue and have tests of their own. */
const STARTED = [
  'createRegionGroups',
  'deleteDatabase',
  'ensureKeepers',
  'healStuckCommits',
  'planOptimizing',
  'removeRegionGroups',
  'sweepJobs',
  'sweepReplicas',
  'sweepTables',
] as const satisfies readonly (keyof typeof workflows)[];

let steward: Steward;
const started = new Map<string, string>();
beforeAll(async () => {
  steward = await startSteward();
  const groups = await steward.database('shown', 1, 1);
  started.set('createRegionGroups', await newest('createRegionGroups'));
  const removal = await steward.client.regionGroups.remove({ groups });
  await removal.result();
  started.set('removeRegionGroups', removal.operationId);
  const deletion = await steward.client.databases.delete('shown');
  await deletion.result();
  started.set('deleteDatabase', deletion.operationId);
  for (const { scheduleId } of await steward.client.schedules.list()) {
    await steward.client.schedules.trigger(scheduleId);
  }
  for (const type of STARTED) if (!started.has(type)) started.set(type, await newest(type));
}, 120_000);
afterAll(() => steward?.stop());

test.each(STARTED)(
  '%s sets actor and phase, details, and a summary on each of its activities',
  async (type) => {
    const handle = steward.temporal.client.workflow.getHandle(started.get(type)!);
    await handle.result();
    const { searchAttributes } = await handle.describe();
    expect(searchAttributes['StewardActor']).toHaveLength(1);
    expect(searchAttributes['StewardPhase']).toHaveLength(1);
    const metadata = await handle.query<{ currentDetails?: string }>('__temporal_workflow_metadata');
    expect(metadata.currentDetails).toMatch(/\S/);
    const { events } = await handle.fetchHistory();
    const scheduled = (events ?? []).filter((event) => event.activityTaskScheduledEventAttributes);
    const unnamed = scheduled.filter(({ userMetadata }) => !userMetadata?.summary);
    expect(unnamed.map((event) => event.activityTaskScheduledEventAttributes?.activityType?.name)).toEqual(
      [],
    );
  },
);

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
