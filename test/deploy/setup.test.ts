import { Client, Connection, type ConnectionOptions } from '@temporalio/client';
import { afterEach, expect, test } from 'vitest';
import type { SetUp } from '../../src/setup/setup.js';
import { ensureSchedules } from '../../src/temporal/schedules.js';
import { steward as command } from '../cli/steward-command.js';
import { openTestCatalog } from '../support/catalog.js';
import { createDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { type Steward, startSteward } from '../support/steward.js';
import { startTemporal } from '../support/temporal.js';
import { backUpCatalog } from './catalog-backup.js';

type Interceptor = NonNullable<ConnectionOptions['interceptors']>[number];

const DEADLINE_EXCEEDED = 4;
const cleanUps: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

test('setup prepares an empty Temporal and an empty catalog, once', async () => {
  const temporal = await startTemporal();
  cleanUps.push(() => temporal.stop());
  const database = await createDatabase();
  cleanUps.push(() => database.drop());
  const env = { TEMPORAL_ADDRESS: temporal.address, DATABASE_URL: database.url };

  const first = await command(['setup', '--json'], { env });
  expect(first.code).toBe(0);
  const made = first.document() as SetUp;
  expect(made.migrations[0]).toBe('0001-regions');
  expect(made.searchAttributes).toHaveLength(5);
  expect(made.schedules).toContain('steward/sweep-replicas');

  const schedule = temporal.client.schedule.getHandle('steward/plan-optimizing');
  await schedule.pause('by an operator');
  const second = await command(['setup', '--json'], { env });
  expect(second.document()).toEqual({ migrations: [], searchAttributes: [], schedules: [] });
  expect((await schedule.describe()).state).toMatchObject({ paused: true, note: 'by an operator' });
  const catalog = openTestCatalog(database.url, 1);
  cleanUps.unshift(() => catalog.destroy());
  expect(await catalog.selectFrom('catalog').select('id').execute()).toHaveLength(1);

  // As a server does that has just started: the worker waits for it, and does not end.
  const late = await connectionThatIsLate(temporal.address, 'DescribeSchedule', 2);
  cleanUps.push(() => late.connection.close());
  expect(await ensureSchedules(new Client({ connection: late.connection }), 'steward')).toEqual([]);
  expect(late.answersLeft()).toBe(0);
});

test('setup says what is wrong with a server that it cannot use', async () => {
  const { code, stderr } = await command(['setup'], {
    env: { TEMPORAL_ADDRESS: '127.0.0.1:1', DATABASE_URL_FILE: '/nonexistent/database-url' },
  });
  expect(code).toBe(1);
  expect(stderr).toMatch(/DATABASE_URL_FILE: \/nonexistent\/database-url cannot be read/);
  const without = await command(['setup'], { env: { TEMPORAL_ADDRESS: '127.0.0.1:1' } });
  expect(without.stderr).toContain('wrong environment: DATABASE_URL: expected the URL of PostgreSQL');
});

test('after a restore to an older point the blockers end, nothing is deleted, and what differs is told', async () => {
  const steward = await startSteward({
    schedules: true,
    workerEnv: { STEWARD_CREATION_TIMEOUT_MS: '600000' },
  });
  cleanUps.push(() => steward.stop());
  const env = { TEMPORAL_ADDRESS: steward.temporalAddress, DATABASE_URL: steward.databaseUrl };
  const [kept, removedLater] = (await steward.database('before', 2)) as [number, number];
  // A creation that is under way in the backup, and that no node hears of before it is superseded.
  for (const node of NODES) {
    await steward.fault(node, { target: 'Submit', kind: { case: 'error', value: 'unavailable' } });
  }
  await steward.client.databases.create({ name: 'half' });
  await steward.client.regionGroups.create({
    database: 'half',
    kind: 'DATA',
    groups: 1,
    replicationFactor: 3,
  });
  const half = removedLater + 1;
  await eventually('it is claimed', async () => {
    const groups = await steward.client.regionGroups.list({ database: 'half' });
    return groups.some(({ groupId }) => groupId === half);
  });

  const backup = await backUpCatalog(steward);
  cleanUps.push(() => backup.drop());
  // What the backup does not know: that one was deleted with its database, another removed, two made.
  const deletion = await steward.client.databases.delete('half');
  await eventually('it is superseded', async () => {
    const { holder } = await steward.client.regionGroups.get(half);
    return holder?.workflowId === deletion.operationId;
  });
  await steward.clearFaults();
  await deletion.result();
  await (await steward.client.regionGroups.remove({ groups: [removedLater] })).result();
  const later = await steward.database('after', 2);
  await steward.worker.stop();
  await steward.coordinator.stop();
  await backup.restore();
  await steward.coordinator.restart();
  await steward.worker.restart();
  await steward.nodesAlive();
  expect((await steward.client.databases.list()).map(({ name }) => name)).toEqual(['before', 'half']);
  const onDisks = () => NODES.map((node) => steward.regionsOnDisk(node));
  expect(onDisks()).toEqual(NODES.map(() => [kept, ...later]));

  for (const survey of (await sweep(steward)).nodes) expect(survey.unreachable).toContain('CATALOG_BEHIND');
  const { holder } = await steward.client.regionGroups.get(half);
  await eventually('the creation of the backup is driven on, and fenced off', async () => {
    const { blockers } = await steward.client.operations.get(holder!.workflowId);
    return blockers.join().includes('CATALOG_BEHIND');
  });

  const first = await command(['setup', '--after-restore', '--json'], { env });
  expect([first.code, first.stderr]).toEqual([0, '']);
  const { restored } = first.document() as SetUp;
  expect(restored!.epochs.is).toBeGreaterThan(restored!.epochs.was);
  expect(restored!.regionGroupIds.is).toBeGreaterThanOrEqual(Math.max(...later));
  expect(restored!.processIds.is).toBeGreaterThan(1_000_000);
  expect(restored!.claimsRenewed).toEqual([half]);
  expect(restored!.paused).toEqual(['steward/sweep-tables']);
  expect(restored!.nodes).toEqual(
    NODES.map((nodeId) => ({ nodeId, onlyOnNode: later, onlyInCatalog: [removedLater] })),
  );
  const { state } = await steward.temporal.client.schedule.getHandle('steward/sweep-tables').describe();
  expect(state).toMatchObject({ paused: true });

  await eventually('what the backup had under way goes on', async () => {
    const group = await steward.client.regionGroups.get(half);
    return group.holder === undefined && group.replicas.every((replica) => replica.state === 'RUNNING');
  });
  for (const survey of (await sweep(steward)).nodes) {
    expect(survey).toMatchObject({ leaked: later, missing: [removedLater] });
    expect(survey.unreachable).toBeUndefined();
  }
  // Two of them have the ids of lost ones no more, and nobody's regions were touched.
  expect(onDisks()).toEqual(NODES.map(() => [kept, half, ...later].sort((a, b) => a - b)));
  const [fresh] = await steward.database('fresh', 1);
  expect(fresh).toBeGreaterThan(Math.max(...later));
  await (await steward.client.regionGroups.remove({ groups: [kept] })).result();
  for (const regions of onDisks()) expect(regions).toEqual([half, ...later, fresh]);

  const second = (await command(['setup', '--after-restore', '--json'], { env })).document() as SetUp;
  expect(second.restored!.epochs.is).toBe(second.restored!.epochs.was);
  expect(second.restored).toMatchObject({ claimsRenewed: [], launchesLifted: [] });

  await steward.node('node-3').kill();
  const without = await command(['setup', '--after-restore'], { env });
  expect(without.code).toBe(1);
  expect(without.stderr).toMatch(/not asked: node-3 does not answer.*run it again/);
}, 180_000);

const NODES = ['node-1', 'node-2', 'node-3'];

async function sweep(steward: Steward) {
  return (await steward.client.sweeps.run({ gracePeriodMs: 0 })).result();
}

/** Of so many calls of a method the answer does not come in the server's own time. */
async function connectionThatIsLate(address: string, method: string, times: number) {
  let left = times;
  const interceptor: Interceptor = (options, nextCall) => {
    const call = nextCall(options) as ReturnType<Interceptor>;
    if (!options.method_definition.path.endsWith(`/${method}`) || left === 0) return call;
    left -= 1;
    const start = call.start.bind(call);
    call.start = (metadata, listener) =>
      start(metadata, {
        ...listener,
        onReceiveStatus: (status) => listener?.onReceiveStatus?.({ ...status, code: DEADLINE_EXCEEDED }),
      });
    return call;
  };
  const connection = await Connection.connect({ address, interceptors: [interceptor] });
  return { connection, answersLeft: () => left };
}
