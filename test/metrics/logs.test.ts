import { readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { fromBaggage, toBaggage } from '../../src/rpc/baggage.js';
import { eventually } from '../support/eventually.js';
import { rateJob } from '../support/jobs.js';
import type { TestProcess } from '../support/processes.js';
import { type Steward, startSteward } from '../support/steward.js';

let steward: Steward;
beforeAll(async () => {
  steward = await startSteward();
  await steward.client.optimizerGroups.create({
    name: 'default',
    settings: { autoRestart: true, threadsPerOptimizer: 1, minParallelism: 1 },
    intervalMs: 300,
  });
});
afterAll(() => steward?.stop());

test('the lines of one removal are found by its workflow id, in the logs of the worker and of every node', async () => {
  const [first, second] = await steward.database('grepped', 2);
  const removal = await steward.client.regionGroups.remove({ groups: [first!] });
  const other = await steward.client.regionGroups.remove({ groups: [second!] });
  await Promise.all([removal.result(), other.result()]);

  const workflowId = removal.operationId;
  const nodes = ['node-1', 'node-2', 'node-3'];
  const operations = nodes.map((node) => expect.stringMatching(`^delete-region/.+/${first}/${node}@\\d+#1$`));
  const told = linesOf(steward.worker, workflowId).filter(({ msg }) => msg === 'region deleted');
  expect(told.sort((a, b) => String(a['node']).localeCompare(String(b['node'])))).toEqual(
    nodes.map((node, at) =>
      expect.objectContaining({
        workflowId,
        workflowType: 'removeRegionGroups',
        runId: expect.any(String),
        activity: 'reconcileRegions',
        activityAttempt: expect.any(Number),
        actor: 'tester',
        node,
        region: first,
        operation: operations[at],
      }),
    ),
  );
  for (const [at, node] of nodes.entries()) {
    const done = linesOf(steward.node(node), workflowId);
    expect(done).toEqual([
      expect.objectContaining({
        msg: 'operation done',
        operation: operations[at],
        workflowId,
        workflowType: 'removeRegionGroups',
        actor: 'tester',
      }),
    ]);
  }
});

test('a keeper and a job say in every line what they are about and who wanted it', async () => {
  const { client, directory } = steward;
  const job = await client.jobs.submit({ jobId: 'logged', job: rateJob(`${directory}/out`, { rows: 10 }) });
  await job.result();
  await eventually('its optimizer lives', async () => {
    const { resources } = await client.optimizerGroups.get('default');
    return resources[0]?.state === 'STARTED';
  });

  const requested = (await client.optimizerGroups.get('default')).resources[0]!;
  expect(told('requesting an optimizer', steward.worker)).toEqual([
    expect.objectContaining({
      workflowId: 'optimizer-group/default',
      workflowType: 'keepOptimizerGroup',
      runId: expect.any(String),
      activity: expect.any(String),
      activityAttempt: 1,
      actor: 'tester',
      group: 'default',
      resource: requested.resourceId,
    }),
  ]);
  const done = told('operation done', ...steward.nodes).filter(
    ({ operation }) => !/-region\//.test(String(operation)),
  );
  const asked = (verb: string, workflowId: string, workflowType: string) =>
    expect.objectContaining({
      operation: expect.stringMatching(new RegExp(`^${verb}/.+@\\d+#1$`)),
      workflowId,
      workflowType,
      actor: 'tester',
    });
  expect(done.sort((a, b) => String(a['operation']).localeCompare(String(b['operation'])))).toEqual([
    asked('deploy-task-group', 'job/logged', 'runJob'),
    asked('request-resource', 'optimizer-group/default', 'keepOptimizerGroup'),
  ]);
  expect(told('task group is FINISHED', ...steward.nodes)).toEqual([
    expect.objectContaining({
      workflowId: 'job/logged',
      actor: 'tester',
      job: 'logged',
      pipeline: 1,
      taskGroup: 1,
      execution: expect.any(Number),
      node: expect.stringMatching(/^node-\d$/),
    }),
  ]);
});

test('the lines of a commit name table and process, from the planning to the snapshot, and each the workflow that it is from', async () => {
  const { client, directory } = steward;
  const { tableId: id } = await client.tables.create({ name: 'logged' });
  for (const at of [1, 2]) {
    const file = `${directory}/logged-${at}.csv`;
    writeFileSync(file, `id\n${at}\n`);
    await client.tables.ingest('logged', file);
  }
  // An optimizer that was started registers a moment later: until then nothing is planned.
  await eventually('an optimizer lives', async () => {
    return (await client.optimizerGroups.get('default')).liveOptimizers === 1;
  });
  const planning = await client.tables.optimize('logged');
  const [planned] = (await planning.result()).planned;
  const { snapshotId } = await eventually('it is committed', async () => {
    const found = await client.tables.get('logged');
    return found.process?.state === 'SUCCESS' && found;
  });
  const about = { table: 'logged', process: planned?.processId };
  const from = (workflowType: string, workflowId: string, activity: string) => ({
    workflowType,
    workflowId,
    activity,
    runId: expect.any(String),
    activityAttempt: expect.any(Number),
  });
  expect(told('process planned', steward.worker)).toEqual([
    expect.objectContaining({
      ...about,
      ...from('planOptimizing', planning.operationId, 'planTables'),
      actor: 'tester',
    }),
  ]);
  expect(told('committing', steward.coordinator)).toEqual([expect.objectContaining(about)]);
  expect(told('process committed', steward.worker)).toEqual([
    expect.objectContaining({
      ...about,
      ...from('commitTable', `table/${id}/commit/${planned?.processId}`, 'commitProcess'),
      snapshot: snapshotId,
      actor: 'coordinator',
    }),
  ]);
});

test('baggage carries any workflow id and actor; what is not ours, or is malformed, is nobody', () => {
  const context = { workflowId: 'job/a=b,c;d %41', workflowType: 'runJob', actor: 'Zoë, <ops@example.org>' };
  expect(toBaggage(context)).toMatch(/^[\x21-\x7e]+$/);
  expect(fromBaggage(toBaggage(context))).toEqual(context);
  expect(fromBaggage(`other=1; ttl=2 , ${toBaggage(context)};p=1`)).toEqual(context);
  for (const header of [
    null,
    '',
    'other=1',
    'steward.workflow_id=',
    'steward.workflow_id=%zz',
    'steward.actor=me',
  ]) {
    expect(fromBaggage(header)).toBeUndefined();
  }
  expect(fromBaggage(`steward.workflow_id=${'x'.repeat(4_000)}`)).toBeUndefined();
});

function linesOf(process: TestProcess, workflowId: string) {
  return linesWith(process, `"workflowId":${JSON.stringify(workflowId)}`);
}

/** The lines with this message. */
function told(message: string, ...processes: readonly TestProcess[]) {
  return processes.flatMap((process) => linesWith(process, `"msg":${JSON.stringify(message)}`));
}

function linesWith({ logFile }: TestProcess, text: string) {
  return readFileSync(logFile, 'utf8')
    .split('\n')
    .filter((line) => line.includes(text))
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}
