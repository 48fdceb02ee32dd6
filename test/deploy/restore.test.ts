import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { afterEach, expect, test } from 'vitest';
import { findNode } from '../../src/catalog/nodes.js';
import { TaskGroupInfo_State } from '../../src/rpc/gen/steward/worker/v1/inventory_pb.js';
import type { SetUp } from '../../src/setup/setup.js';
import { disagreements, ranTwice } from '../chaos/agreement.js';
import { steward as command } from '../cli/steward-command.js';
import { idsIn, numbers } from '../jobs/task-groups.js';
import { lives } from '../optimizers/optimizer-process.js';
import { query } from '../optimizers/parquet.js';
import { eventually } from '../support/eventually.js';
import { rateJob } from '../support/jobs.js';
import { type Steward, startSteward } from '../support/steward.js';
import { backUpCatalog } from './catalog-backup.js';

const NODES = ['node-1', 'node-2', 'node-3'];
const PATIENT = { STEWARD_RPC_DEADLINE_MS: '2000', STEWARD_NODE_TIMEOUT_MS: '30000' };
const cleanUps: (() => Promise<unknown>)[] = [];
let steward: Steward;
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

test('Temporal restored to an older point: what ended since ends again, what started since is driven on, nothing is doubled', async () => {
  await start();
  const before = await beforeTheBackup();
  const backup = join(steward.directory, 'temporal-backup');
  await steward.temporal.backUp(backup);
  const after = await afterTheBackup(before);
  const snapshots = await snapshotsOf('readings');
  const optimizers = await liveOptimizers(2);

  await steward.worker.stop();
  await steward.temporal.restore(backup);
  expect((await setup()).code).toBe(0);
  await steward.worker.restart();

  // What the backup had under way and the catalog knows as ended.
  expect(await resultOf(before.removal)).toMatchObject({ outcome: 'REMOVED', groups: 1 });
  await eventually('no workflow of the backup is open but the keeper', async () => {
    const open: string[] = [];
    const running = "ExecutionStatus = 'Running'";
    for await (const { workflowId } of steward.temporal.client.workflow.list({ query: running }))
      open.push(workflowId);
    return open.every((id) => id === 'optimizer-group/merging');
  });
  // What was started since has no workflow: the sweeps drive it on.
  const { drivenOn } = await (await steward.client.sweeps.run({ gracePeriodMs: 0 })).result();
  expect(drivenOn).toEqual([after.removal]);
  expect((await (await steward.client.jobs.sweep()).result()).drivenOn).toEqual(['job/later']);
  await steward.clearFaults();
  const later = await steward.client.jobs.handle('later');
  expect(await later.result()).toMatchObject({ outcome: 'FINISHED', restarts: 0 });
  await eventually('the removal of later is over', async () => (await disagreements(steward)).length === 0);

  expect(idsIn(before.sink)).toEqual(numbers(0, 600));
  expect(idsIn(after.sink)).toEqual(numbers(0, after.rows));
  expect(await snapshotsOf('readings')).toEqual(snapshots);
  expect(await idsOf('readings')).toEqual(numbers(0, 9));
  expect(await liveOptimizers(2)).toEqual(optimizers);
  for (const node of NODES) {
    for (const verb of ['create-region', 'delete-region', 'deploy-task-group', 'request-resource'])
      expect(ranTwice(steward, node, verb)).toEqual([]);
  }
  await steward.client.schedules.trigger('steward/ensure-keepers');
  await eventually('the group that was made since has a keeper again', async () => {
    return (await steward.client.optimizerGroups.get('later')).keeper.state === 'KEEPING';
  });
}, 300_000);

test('catalog and Temporal restored to an older point: what was under way goes on, what is lost is told, nothing is deleted or doubled', async () => {
  await start();
  const before = await beforeTheBackup();
  const backup = join(steward.directory, 'temporal-backup');
  await steward.worker.stop();
  await steward.temporal.backUp(backup);
  const catalogBackup = await backUpCatalog(steward);
  cleanUps.push(() => catalogBackup.drop());
  await steward.worker.restart();
  const optimizer = await liveOptimizers(1);
  const after = await afterTheBackup(before);
  const lost = (await liveOptimizers(2)).find(({ resourceId }) => resourceId !== optimizer[0]!.resourceId)!;

  await steward.worker.stop();
  await steward.coordinator.stop();
  await catalogBackup.restore();
  await steward.temporal.restore(backup);
  const { restored } = (await setup('--after-restore')).document() as SetUp;
  const differences = restored!.nodes.map(({ onlyOnNode }) => onlyOnNode);
  expect(differences[0]).toEqual([after.kept]);
  expect(differences[1]).toContain(after.kept);
  await steward.coordinator.restart();
  await steward.worker.restart();
  await steward.clearFaults();

  expect(await resultOf(before.removal)).toMatchObject({ outcome: 'REMOVED', groups: 1 });
  // It had ended: its node either remembers that, or has forgotten it by now. It is not started again by itself.
  expect(restored!.jobsPaused).toEqual(['before']);
  const end = await eventually('the job of the backup is over, or held before its restart', async () => {
    const { status, blockers } = await steward.client.operations.get('job/before');
    return status !== 'RUNNING' ? status : blockers.join().includes('PAUSED') && 'PAUSED';
  });
  expect(['COMPLETED', 'PAUSED']).toContain(end);
  if (end === 'PAUSED') await steward.client.jobs.cancel('before');
  expect(idsIn(before.sink)).toEqual(numbers(0, 600));
  await merged();
  expect(await idsOf('readings')).toEqual(numbers(0, 9));
  expect(await snapshotsOf('readings')).toHaveLength(4);
  await eventually(
    'the lost job is ended by its next checkpoint',
    async () => (await runningOn('later')) === 0,
  );
  const written = idsIn(after.sink);
  expect(new Set(written).size).toBe(written.length);

  const observed = await eventually('what was being removed is gone', async () => {
    const swept = await (await steward.client.sweeps.run({ gracePeriodMs: 0 })).result();
    return swept.nodes.every(({ leaked }) => leaked.length === 1) && swept;
  });
  for (const { leaked, missing } of observed.nodes) expect([leaked, missing]).toEqual([[after.kept], []]);
  expect(observed.nodes.flatMap(({ strays = [] }) => strays)).toEqual([
    { resourceId: lost.resourceId, because: 'FORGOTTEN', releaseEpoch: 2 },
  ]);
  for (const node of NODES) expect(steward.regionsOnDisk(node)).toContain(after.kept);
  expect(await liveOptimizers(1)).toEqual(optimizer);

  const repair = { mode: 'repair', gracePeriodMs: 0 } as const;
  const repaired = await (await steward.client.sweeps.run(repair)).result();
  expect(repaired).toMatchObject({ removed: 3, released: 1, recreations: [] });
  expect(await disagreements(steward)).toEqual([]);
  expect(await liveOptimizers(1)).toEqual(optimizer);
  for (const node of NODES) {
    for (const verb of ['create-region', 'delete-region', 'deploy-task-group', 'request-resource'])
      expect(ranTwice(steward, node, verb)).toEqual([]);
  }
}, 300_000);

async function start(): Promise<void> {
  steward = await startSteward({
    ownTemporalDb: true,
    workerEnv: PATIENT,
    coordinatorEnv: { ...PATIENT, STEWARD_POLL_INTERVAL_MS: '50' },
  });
  cleanUps.push(() => steward.stop());
  await steward.nodesAlive();
}

/** A removal, a commit and a job are under way at its end, and an optimizer is kept. */
async function beforeTheBackup() {
  const [going] = await steward.database('kept', 2);
  await steward.client.optimizerGroups.create({
    name: 'merging',
    intervalMs: 300,
    settings: { autoRestart: true, minParallelism: 1, gracePeriodMs: 60_000, heartbeatTimeoutMs: 20_000 },
  });
  await steward.client.tables.create({ name: 'readings', group: 'merging' });
  for (const file of [0, 1, 2]) {
    const path = join(steward.directory, `part-${file}.csv`);
    writeFileSync(path, `id\n${[0, 1, 2].map((row) => file * 3 + row).join('\n')}\n`);
    await steward.client.tables.ingest('readings', path);
  }
  await liveOptimizers(1);
  await slowDeletionsOn('node-3');
  const removal = (await steward.client.regionGroups.remove({ groups: [going!] })).operationId;
  await eventually('half of it is removed', () => !steward.regionsOnDisk('node-1').includes(going!));
  const sink = join(steward.directory, 'sinks', 'before');
  const job = rateJob(
    sink,
    { rows: 600, rowsPerSecond: 60 },
    { checkpointIntervalMs: 500, stateCleanupDelayMs: 500, retryTimes: 1 },
  );
  await steward.client.jobs.submit({ jobId: 'before', job });
  await eventually('the job writes', () => idsIn(sink).length > 0);
  const optimizing = await steward.client.tables.optimize('readings', { kind: 'FULL' });
  await optimizing.result();
  return { removal, sink };
}

/** All of that ends; a second optimizer is launched; a removal and a job that started since are under way at its end. */
async function afterTheBackup(before: Awaited<ReturnType<typeof beforeTheBackup>>) {
  await steward.clearFaults();
  await resultOf(before.removal);
  await merged();
  await steward.client.optimizerGroups.scale('merging', { minParallelism: 2 });
  await liveOptimizers(2);
  await eventually('nothing is kept of the job', () =>
    steward.client.jobs.get('before').then(
      () => false,
      () => true,
    ),
  );
  await steward.client.optimizerGroups.create({ name: 'later', settings: {} });
  const [removed, kept] = await steward.database('later', 2);
  await slowDeletionsOn('node-3');
  const removal = (await steward.client.regionGroups.remove({ groups: [removed!] })).operationId;
  await eventually('half of it is removed', () => !steward.regionsOnDisk('node-1').includes(removed!));
  const sink = join(steward.directory, 'sinks', 'later');
  const rows = 900;
  const job = rateJob(sink, { rows, rowsPerSecond: 60 }, { checkpointIntervalMs: 500 });
  await steward.client.jobs.submit({ jobId: 'later', job });
  await eventually('the later job writes', () => idsIn(sink).length > 0);
  return { removal, kept: kept!, sink, rows };
}

function setup(...flags: readonly string[]) {
  const env = { TEMPORAL_ADDRESS: steward.temporalAddress, DATABASE_URL: steward.databaseUrl };
  return command(['setup', '--json', ...flags], { env });
}

/** A backup cuts off whoever is at work on the catalog: what that left stuck is healed, here at once. */
async function merged(): Promise<void> {
  const graces = { ackTimeoutMs: 5_000, settleGraceMs: 500, resultGraceMs: 5_000, commitGraceMs: 500 };
  await eventually('the table is merged', async () => {
    await (await steward.client.heals.run({ mode: 'repair', graces })).result();
    const { status, files } = await steward.client.tables.get('readings');
    return status === 'IDLE' && files === 1;
  });
}

async function resultOf(operationId: string): Promise<unknown> {
  return (await steward.client.operations.handle(operationId)).result();
}

async function runningOn(jobId: string): Promise<number> {
  let running = 0;
  for (const node of NODES) {
    const { nodeId, ledgerId } = (await findNode(steward.catalog, node))!;
    const request = { node: { nodeId, ledgerId }, catalogId: steward.catalogId, jobId };
    const { taskGroups } = await steward.rpc(node).inventory.listTaskGroups(request);
    running += taskGroups.filter(({ state }) => state === TaskGroupInfo_State.RUNNING).length;
  }
  return running;
}

async function slowDeletionsOn(node: string): Promise<void> {
  await steward.fault(node, {
    target: 'delete-region',
    kind: { case: 'delay', value: durationFromMs(600_000) },
  });
}

async function liveOptimizers(count: number) {
  return eventually(`the group has ${count} resources, each with a live optimizer`, async () => {
    const { resources } = await steward.client.optimizerGroups.get('merging');
    const live = resources.filter(
      ({ state, optimizer, processId }) => state === 'STARTED' && optimizer?.alive && lives(processId!),
    );
    if (live.length !== count || resources.length !== count) return false;
    return resources.map(({ resourceId, launch, processId }) => ({ resourceId, launch, processId }));
  });
}

function snapshotsOf(table: string) {
  return steward.catalog
    .selectFrom('snapshot')
    .innerJoin('data_table', 'data_table.table_id', 'snapshot.table_id')
    .where('data_table.name', '=', table)
    .select(['snapshot.snapshot_id', 'snapshot.path'])
    .orderBy('snapshot.snapshot_id')
    .execute();
}

async function idsOf(table: string): Promise<number[]> {
  const { location, dataFiles } = await steward.client.tables.get(table);
  const paths = dataFiles.map(({ path }) => `'${join(location, path)}'`).join(', ');
  const rows = await query(`SELECT id FROM read_parquet([${paths}]) ORDER BY id`);
  return rows.map(({ id }) => Number(id));
}
