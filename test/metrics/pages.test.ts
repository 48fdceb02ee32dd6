import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { alertsFile, dashboardFile, documentedMetrics, metricsIn } from '../deploy/monitoring-files.js';
import { eventually } from '../support/eventually.js';
import { rateJob } from '../support/jobs.js';
import { freePort } from '../support/ports.js';
import { type Steward, startSteward } from '../support/steward.js';
import { readMetrics } from './support.js';

let steward: Steward;
let sdkListen: string;
beforeAll(async () => {
  sdkListen = `127.0.0.1:${await freePort()}`;
  const listening = { STEWARD_METRICS_LISTEN: '127.0.0.1:0' };
  steward = await startSteward({
    workerEnv: { ...listening, STEWARD_SDK_METRICS_LISTEN: sdkListen },
    coordinatorEnv: listening,
  });
  await steward.nodesAlive();
});
afterAll(() => steward?.stop());

const worker = () => readMetrics(steward.worker.ready['metrics'] as string);
const coordinator = () => readMetrics(steward.coordinator.ready['metrics'] as string);

test('docs/metrics.md lists every metric that is served, by whom and of which type, and no other', async () => {
  const served = (page: Awaited<ReturnType<typeof worker>>, by: string) =>
    [...page.families].map(([name, type]) => `${name} ${by} ${type}`);
  const listed = [...documentedMetrics()].flatMap(([name, how]) => how.map((one) => `${name} ${one}`));
  expect(listed.sort()).toEqual(
    [...served(await worker(), 'worker'), ...served(await coordinator(), 'coordinator')].sort(),
  );
});

test('names end as their units and types want it, and every metric has a help', async () => {
  for (const { families, text } of [await worker(), await coordinator()]) {
    for (const [name, type] of families) {
      expect(text).toMatch(new RegExp(`^# HELP ${name} \\S+ \\S+`, 'm'));
      expect(name.endsWith('_total'), name).toBe(type === 'counter');
      if (type === 'histogram') expect(name).toMatch(/_seconds$/);
    }
  }
});

test('operations are counted as they start and end, and the deletions on a node as it confirms them', async () => {
  await steward.database('counted', 2);
  await (await steward.client.databases.delete('counted')).result();
  const page = await eventually('the end is counted', async () => {
    const now = await worker();
    return now.value('steward_operations_ended_total{type="deleteDatabase",outcome="done"}') === 1 && now;
  });
  expect(page.value('steward_operations_started_total{type="createRegionGroups"}')).toBe(1);
  expect(page.value('steward_operations_ended_total{type="createRegionGroups",outcome="done"}')).toBe(1);
  expect(page.value('steward_operation_seconds_count{type="deleteDatabase",outcome="done"}')).toBe(1);
  for (const node of ['node-1', 'node-2', 'node-3']) {
    const ended = (verb: string) =>
      page.value(`steward_node_operations_ended_total{verb="${verb}",node="${node}",outcome="success"}`);
    expect([ended('create-region'), ended('delete-region')]).toEqual([2, 2]);
  }
  expect(page.value('steward_node_operation_seconds_count{verb="delete-region"}')).toBe(6);
});

test('the end of what was asked of nodes for optimizers and jobs is counted once, by verb', async () => {
  const { client, directory } = steward;
  const settings = { autoRestart: true, threadsPerOptimizer: 1, minParallelism: 1 };
  await client.optimizerGroups.create({ name: 'counted', settings, intervalMs: 300 });
  const job = rateJob(`${directory}/counted`, { rows: 20, taskGroups: 2 });
  await (await client.jobs.submit({ jobId: 'counted', job })).result();
  await eventually('they are counted', async () => {
    const { text } = await worker();
    const succeeded = (verb: string) =>
      [
        ...text.matchAll(
          new RegExp(
            `^steward_node_operations_ended_total\\{verb="${verb}",node="[^"]+",outcome="success"} (\\d+)$`,
            'gm',
          ),
        ),
      ].reduce((sum, [, count]) => sum + Number(count), 0);
    return succeeded('deploy-task-group') === 2 && succeeded('request-resource') === 1;
  });
  expect((await worker()).value('steward_node_operation_seconds_count{verb="deploy-task-group"}')).toBe(2);
});

test('an operation that fails, and one that is refused, count as failed', async () => {
  const refused = await steward.client.regionGroups.remove({ groups: [987_654] }).then(
    (operation) => operation.result().catch((error: unknown) => error),
    (error: unknown) => error,
  );
  expect(refused).toBeInstanceOf(Error);
  await eventually('the failure is counted', async () => {
    const failed = 'steward_operations_ended_total{type="removeRegionGroups",outcome="failed"}';
    return (await worker()).value(failed) === 1;
  });
});

test('a blocked deletion is told with its node and since when, the same after the worker was killed, and is gone when it is over', async () => {
  const since = 'steward_operation_blocked_since_timestamp_seconds{type="removeRegionGroups",node="node-2"}';
  const groups = await steward.database('blocked', 2);
  await steward.node('node-2').kill('SIGSTOP');
  try {
    const removal = await steward.client.regionGroups.remove({ groups });
    const before = await eventually('it is told', async () => (await worker()).value(since));
    expect(
      (await worker()).value('steward_operations_blocked{type="removeRegionGroups",node="node-2"}'),
    ).toBe(1);
    await eventually('the catalog tells of the open deletions', async () => {
      const page = await coordinator();
      return (
        page.value('steward_open_deletions{node="node-2"}') === 2 &&
        page.value('steward_open_deletions{node="node-1"}') === 0 &&
        page.value('steward_node_alive{node="node-2"}') === 0 &&
        page.value('steward_nodes{state="silent"}') === 1 &&
        page.value('steward_nodes{state="alive"}') === 2
      );
    });
    // Blocked at more than one attempt, so that the next worker hears of it.
    const attempts = await attemptsOf(removal.operationId);
    await eventually('it was tried again', async () => (await attemptsOf(removal.operationId)) > attempts);
    await steward.worker.restart();
    const after = await eventually('another worker tells it', async () => (await worker()).value(since));
    expect(after).toBe(before);
    await steward.node('node-2').kill('SIGCONT');
    await removal.result();
    expect((await worker()).value(since)).toBeUndefined();
    expect((await coordinator()).value('steward_open_deletions{node="node-2"}')).toBe(0);
  } finally {
    await steward.node('node-2').kill('SIGCONT');
  }
});

test("what alerts and dashboard read of Temporal's SDK is what it serves", async () => {
  const { text } = await eventually('the SDK has served something', async () => {
    const page = await readMetrics(`http://${sdkListen}/metrics`);
    return page.text.includes('schedule_to_start_latency') && page;
  });
  const used = [alertsFile, dashboardFile].flatMap((file) => metricsIn(readFileSync(file, 'utf8')));
  const ofTemporal = [...new Set(used)].filter((name) => name.startsWith('temporal_'));
  expect(ofTemporal).toContain('temporal_num_pollers');
  for (const name of ofTemporal) expect(text).toMatch(new RegExp(`^# TYPE ${name} `, 'm'));
  expect(text).toMatch(/^temporal_num_pollers\{[^}]*poller_type="workflow_task"/m);
});

async function attemptsOf(workflowId: string): Promise<number> {
  const { raw } = await steward.temporal.client.workflow.getHandle(workflowId).describe();
  return (raw.pendingActivities ?? []).reduce((most, { attempt }) => Math.max(most, attempt ?? 0), 0);
}
