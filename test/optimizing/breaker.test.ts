import { afterAll, beforeAll, expect, test } from 'vitest';
import { planTable } from '../../src/catalog/optimizing/planning.js';
import { steward as command } from '../cli/steward-command.js';
import { eventually } from '../support/eventually.js';
import { freePort } from '../support/ports.js';
import { type OptimizingSteward, startOptimizingSteward, upTo } from './optimizing-steward.js';

const TABLES = upTo(12).map((index) => `t-${index}`);
const BUDGET = 30;

let steward: OptimizingSteward;
let metricsUrl: string;
beforeAll(async () => {
  const listen = `127.0.0.1:${await freePort()}`;
  metricsUrl = `http://${listen}/metrics`;
  steward = await startOptimizingSteward({
    workerEnv: { STEWARD_METRICS_LISTEN: listen },
    coordinatorEnv: { STEWARD_METRICS_LISTEN: '127.0.0.1:0' },
  });
});
afterAll(() => steward?.stop());

test('more than half of ten running processes are stuck at once: the breaker opens, says so everywhere, and heals go on after the acknowledgement', async () => {
  const optimizer = await steward.optimizer('node-1', { 'merge-delay-ms': '3000' }, TABLES.length);
  for (const table of TABLES) await steward.table(table, 2);
  const processes: number[] = [];
  for (const table of TABLES) {
    const options = { actor: 'tester', kind: 'FULL' as const, targetFileBytes: 1 << 20 };
    const planned = await planTable(steward.catalog, table, options);
    if (planned.kind !== 'PLANNED') throw new Error(JSON.stringify(planned));
    processes.push(planned.processId);
  }
  const held = await steward.hold('SELECT FROM data_table FOR UPDATE');
  await eventually('no task is open', async () => {
    const tasks = (await Promise.all(processes.map((process) => steward.tasks(process)))).flat();
    return tasks.every(({ state }) => state === 'SUCCESS');
  });
  // Nobody counts what was recorded: the coordinator is gone, and the optimizer does not come to tell it again.
  await steward.coordinator.kill();
  await optimizer.kill();
  await held.release();
  const running = await steward.catalog
    .selectFrom('optimizing_process')
    .select('process_id')
    .where('state', '=', 'RUNNING')
    .execute();
  expect(running).toHaveLength(TABLES.length);
  await steward.coordinator.restart();

  const observed = await steward.heal({ mode: 'observe', graces: { settleGraceMs: 0 } });
  expect(observed).toMatchObject({ mode: 'observe', total: running.length, healed: [], failed: [] });
  expect(observed.breaker.state, 'who only looks opens nothing').toBe('CLOSED');
  expect(await stillStuck()).toBe(running.length);

  for (const _ of ['first', 'second']) {
    const result = await steward.heal({ graces: { settleGraceMs: 0 } });
    expect(result).toMatchObject({
      total: running.length,
      healed: [],
      failed: [],
      breaker: { state: 'OPEN' },
    });
    expect(result.breaker.reason).toBe(
      `${running.length} of ${running.length} running processes were stuck at once`,
    );
    expect(await stillStuck()).toBe(running.length);
  }
  const one = await steward.heal({ table: TABLES.at(-1)!, graces: { settleGraceMs: 0 } });
  expect(one.breaker.state, 'also for one table').toBe('OPEN');
  expect(one.healed).toEqual([]);
  expect(await breakerMetric()).toEqual({ open: 1, acknowledged: 0, closed: 0 });
  expect(await metric('steward_stuck_processes{shape="S1"}')).toBe(running.length);

  const status = await cli('heal', 'status', '--json');
  expect(status.document()).toMatchObject({ breaker: { state: 'OPEN' }, last: { result: { healed: [] } } });
  expect((await cli('heal', 'status')).stdout).toMatch(/steward heal ack/);
  expect((await cli('heal', 'ack', '--dry-run')).stdout).toMatch(/would acknowledge/);
  expect((await steward.client.heals.breaker()).state).toBe('OPEN');
  expect((await cli('heal', 'ack')).code).toBe(0);
  expect((await cli('heal', 'ack')).code, 'nothing to acknowledge any more').toBe(2);

  const healing = await steward.client.heals.run({ graces: { settleGraceMs: 0 } });
  const healed = await healing.result();
  expect(healed.breaker.state).toBe('ACKNOWLEDGED');
  expect(healed.healed).toHaveLength(running.length);
  expect((await steward.events(healing.operationId)).total).toBeLessThanOrEqual(BUDGET);
  for (const table of TABLES) {
    await steward.idle(table);
    expect(await steward.ids(table)).toEqual(upTo(6));
  }
  expect((await steward.heal()).breaker.state, 'armed again').toBe('CLOSED');
  expect(await breakerMetric()).toEqual({ open: 0, acknowledged: 0, closed: 1 });
  expect(await metric('steward_heals_total{shape="S1",outcome="healed"}')).toBe(running.length);
});

test('schedules are ensured, listed, paused, resumed and triggered', async () => {
  const { schedules } = steward.client;
  const id = 'steward/heal-stuck-commits';
  expect((await schedules.list()).map(({ state }) => state)).not.toContain('MISSING');
  expect(await schedules.get(id)).toMatchObject({ state: 'PAUSED', note: 'the test says when' });
  expect(await schedules.ensure()).toMatchObject({ created: [] });
  expect((await schedules.get(id)).state, 'stays paused').toBe('PAUSED');
  expect((await schedules.resume(id)).state).toBe('ACTIVE');
  expect((await schedules.pause(id)).state).toBe('PAUSED');
  await steward.temporal.client.schedule.getHandle(id).delete();
  expect((await schedules.get(id)).state).toBe('MISSING');
  await expect(schedules.trigger(id)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  expect((await schedules.ensure()).created).toEqual([id]);
  const before = (await schedules.get(id)).lastStartedAt;
  await schedules.trigger(id);
  await eventually('it was started', async () => {
    const { lastStartedAt } = await schedules.get(id);
    return lastStartedAt !== undefined && lastStartedAt !== before;
  });
  await expect(schedules.pause('steward/nothing')).rejects.toMatchObject({ code: 'INVALID_INPUT' });
});

async function stillStuck(): Promise<number> {
  const rows = await steward.catalog
    .selectFrom('optimizing_process')
    .innerJoin('data_table', 'data_table.table_id', 'optimizing_process.table_id')
    .select('process_id')
    .where('state', '=', 'RUNNING')
    .where('committing_since', 'is', null)
    .where('status', '=', 'FULL_OPTIMIZING')
    .execute();
  return rows.length;
}

/** As the coordinator tells it. */
async function breakerMetric() {
  const url = steward.coordinator.ready['metrics'] as string;
  const of = (state: string) => metric(`steward_heal_breaker_state{state="${state}"}`, url);
  return { open: await of('open'), acknowledged: await of('acknowledged'), closed: await of('closed') };
}

async function metric(name: string, url = metricsUrl): Promise<number> {
  const page = await (await fetch(url)).text();
  return Number(
    page
      .split('\n')
      .find((line) => line.startsWith(`${name} `))
      ?.split(' ')[1],
  );
}

function cli(...args: readonly string[]) {
  return command([
    ...args,
    '--coordinator',
    steward.coordinatorUrl,
    '--temporal-address',
    steward.temporalAddress,
  ]);
}
