import { rmSync } from 'node:fs';
import { sql } from 'kysely';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { lockWaits } from '../chaos/lock-waits.js';
import { steward as run } from '../cli/steward-command.js';
import { eventually } from '../support/eventually.js';
import {
  GROUP,
  type OptimizingSteward,
  type RunningOptimizer,
  SOON,
  startOptimizingSteward,
  upTo,
} from './optimizing-steward.js';

let steward: OptimizingSteward;
let optimizer: RunningOptimizer;
beforeAll(async () => {
  steward = await startOptimizingSteward();
});
afterAll(() => steward?.stop());

const lockTable = (table: string) => `SELECT FROM data_table WHERE name = '${table}' FOR UPDATE`;
const lockTasks = (process: number) => `SELECT FROM optimizing_task WHERE process_id = ${process} FOR UPDATE`;

test('S1: the table is locked while its last task completes; one heal after that commits it, every row there once', async () => {
  optimizer = await steward.optimizer('node-1', { 'merge-delay-ms': '700' });
  const table = await steward.table('locked', 5);
  const process = await steward.optimize(table);
  const lock = await steward.hold(lockTable(table));
  await allAre('SUCCESS', process);
  const settling = await eventually('the lock time-out has struck', () =>
    steward
      .warnings(steward.coordinator)
      .find(({ msg, table: of }) => msg === 'settling failed' && of === table),
  );
  expect(settling['cause']).toMatch(/lock timeout/);
  expect(await steward.status(table)).toMatchObject({ status: 'FULL_OPTIMIZING', files: 5 });
  expect(await steward.process(process)).toMatchObject({ state: 'RUNNING', committing_since: null });
  await lock.release();

  await due(process);
  const { healed, stuck, failed } = await steward.heal();
  expect(stuck).toMatchObject([{ table, shape: 'S1', status: 'FULL_OPTIMIZING', process: 'RUNNING' }]);
  expect(healed).toEqual([{ table, processId: process, shape: 'S1', outcome: 'COMMITTING' }]);
  expect(failed).toEqual([]);
  await committedOnce(table, process, 5);

  await steward.heal();
  await eventually('what was healed is told also after a cycle that had nothing to do', async () => {
    const { last, lastHealed } = await steward.client.heals.status();
    return last?.result.healed.length === 0 && lastHealed?.result.healed[0]?.table === table;
  });
});

test('the lock is held for five cycles: each tells of the detection and of the failure once, and nothing else; then it heals', async () => {
  const table = await steward.table('long-locked', 5);
  const process = await steward.optimize(table);
  const lock = await steward.hold(lockTable(table));
  await allAre('SUCCESS', process);
  await due(process);
  for (let cycle = 1; cycle <= 5; cycle += 1) {
    const before = steward.warnings(steward.worker, 'heal').length;
    const { healed, failed } = await steward.heal();
    expect(healed).toEqual([]);
    expect(failed).toMatchObject([{ table, processId: process, shape: 'S1' }]);
    expect(steward.warnings(steward.worker, 'heal').slice(before)).toMatchObject([
      { msg: 'stuck process', table, process, status: 'FULL_OPTIMIZING', shape: 'S1' },
      {
        msg: 'stuck process not healed; tried again in the next cycle',
        table,
        process,
        cause: expect.stringMatching(/lock timeout/),
      },
    ]);
  }
  const page = await eventually('the last cycle is on the screen', async () => {
    const { stdout } = await run(['top', '--once'], { env: steward.clientEnv });
    return stdout.includes('NOT HEALED BECAUSE') && stdout;
  });
  const [stuck, healed] = ['STUCK PROCESSES', 'LAST HEALS'].map((title) => sectionOf(page, title));
  expect(stuck).toMatch(/^found \S+ ago by tester\nTABLE +PROCESS +STUCK +NOT HEALED BECAUSE\n/);
  expect(stuck).toMatch(
    new RegExp(`\\nlong-locked +${process} +S1: all done, not committed +canceling statement`),
  );
  expect(stuck).toMatch(/; tried again$/);
  expect(healed).toMatch(
    /^\S+ ago by tester\nTABLE +PROCESS +WAS STUCK +HEALED\nlocked +\d+ +S1: all done, not committed +its commit runs$/,
  );
  await lock.release();
  expect((await steward.heal()).healed).toMatchObject([{ table, outcome: 'COMMITTING' }]);
  await committedOnce(table, process, 5);
});

test('S2: the transaction that records the last task is rolled back, and the optimizer dies: the result comes from its outbox, merged once', async () => {
  const table = await steward.table('rolled-back', 5);
  const before = optimizer.count('merge done');
  const process = await steward.optimize(table);
  await allAre('ACKED', process);
  const lock = await steward.hold(lockTasks(process));
  await eventually('it is merged', () => optimizer.count('merge done') === before + 1);
  await optimizer.kill();
  await eventually(
    'the last transaction was rolled back',
    async () => (await lockWaits(steward)).length === 0,
  );
  await lock.release();
  await allAre('ACKED', process);
  await due(process);

  const { healed } = await steward.heal();
  expect(healed).toEqual([{ table, processId: process, shape: 'S2', outcome: 'COMMITTING' }]);
  await committedOnce(table, process, 5);
  await optimizer.relaunch();
  await eventually('the outbox is empty', () => optimizer.count('result is on record') >= 1);
  expect(optimizer.count('merge done')).toBe(before + 1);
  await committedOnce(table, process, 5);
});

test('S2: the coordinator is killed before it hears of the result, and the optimizer comes back with a new token: merged once, committed once', async () => {
  const table = await steward.table('killed-before', 5);
  await optimizer.relaunch({ 'hold-at': 'recorded' });
  const before = optimizer.count('merge done');
  const process = await steward.optimize(table);
  await eventually(
    'the result is in the outbox',
    () => optimizer.log().filter(({ point }) => point === 'recorded').length === 1,
  );
  await steward.coordinator.kill();
  await optimizer.kill();
  await due(process);
  await steward.coordinator.restart();
  // The heal and the optimizer's own next launch race for it: either way it is recorded once.
  const [{ stuck }] = await Promise.all([steward.heal(), optimizer.relaunch()]);
  expect(stuck.map(({ shape }) => shape)).toEqual(['S2']);
  await eventually('committed', async () => {
    await steward.heal();
    return (await steward.status(table)).status === 'IDLE';
  });
  await committedOnce(table, process, 5);
  expect(optimizer.count('merge done')).toBe(before + 1);
});

test('S3: beginCommitting happened and nobody started the commit: one heal does; a commit that runs is left alone', async () => {
  const table = await steward.table('unstarted', 5);
  const process = await steward.optimize(table);
  const lock = await steward.hold(lockTable(table));
  await allAre('SUCCESS', process);
  await steward.coordinator.kill();
  await lock.release();
  // As the coordinator that was killed between beginCommitting and the start of commitTable left it.
  const { settleProcess } = await import('../../src/catalog/optimizing/settling.js');
  expect(await settleProcess(steward.catalog, process)).toMatchObject({ kind: 'COMMITTING', began: true });
  await steward.coordinator.restart();
  await statusDue(table);
  const held = await steward.hold(
    lockTable(table),
    `UPDATE data_table SET files = files WHERE name = '${table}'`,
  );
  expect((await steward.heal()).failed).toMatchObject([
    { table, shape: 'S3', cause: expect.stringMatching(/lock timeout/) },
  ]);
  await held.release();
  expect((await steward.heal()).healed).toEqual([
    { table, processId: process, shape: 'S3', outcome: 'COMMITTING' },
  ]);
  await committedOnce(table, process, 5);
});

test('the coordinator is killed between its two transactions: one heal completes it', async () => {
  const table = await steward.table('between', 5);
  const process = await steward.optimize(table);
  const lock = await steward.hold(lockTable(table));
  await allAre('SUCCESS', process);
  await steward.coordinator.kill();
  await lock.release();
  await steward.coordinator.restart();
  await due(process);
  expect((await steward.heal()).healed).toEqual([
    { table, processId: process, shape: 'S1', outcome: 'COMMITTING' },
  ]);
  await committedOnce(table, process, 5);
});

test('S4: the optimizer and its disk are gone: the task is planned again, and another optimizer does it', async () => {
  const doomed = await steward.optimizer('node-2', { 'hold-at': 'acked' });
  await optimizer.kill();
  const table = await steward.table('disk-gone', 5);
  const process = await steward.optimize(table);
  await allAre('ACKED', process);
  await doomed.kill();
  rmSync(doomed.directory, { recursive: true, force: true });
  await due(process);
  const { healed, stuck } = await steward.heal();
  expect(stuck).toMatchObject([{ table, shape: 'S4', tasks: [{ attempt: 1 }] }]);
  expect(healed).toEqual([{ table, processId: process, shape: 'S4', outcome: 'REPLANNED' }]);
  expect(await steward.tasks(process)).toMatchObject([{ attempt: 2 }]);
  await optimizer.relaunch();
  await committedOnce(table, process, 5);
});

test('S4: a task that was handed out and never begun goes back after the ack time-out; the late ack is stale', async () => {
  await optimizer.kill();
  const table = await steward.table('never-begun', 5);
  await steward.catalog.updateTable('optimizer').set({ last_touch: sql<Date>`now()` }).execute();
  const process = await steward.optimize(table);
  const { pollTask, ackTask } = await import('../../src/catalog/optimizing/handing-out.js');
  const row = await steward.catalog
    .selectFrom('optimizer')
    .selectAll()
    .where('resource_id', '=', optimizer.resourceId)
    .executeTakeFirstOrThrow();
  const holder = { token: row.token, resourceId: row.resource_id, group: GROUP, nodeId: row.node_id };
  const task = (await pollTask(steward.catalog, holder))!;
  expect((await steward.heal({ graces: { ...SOON, ackTimeoutMs: 60_000 } })).stuck).toEqual([]);
  await due(process);
  expect((await steward.heal()).healed).toMatchObject([{ shape: 'S4', outcome: 'REPLANNED' }]);
  expect(await ackTask(steward.catalog, holder, task)).toBe('STALE');
  const { completeTask } = await import('../../src/catalog/optimizing/completion.js');
  const late = { kind: 'MERGED' as const, outputs: [{ path: task.output, rows: 15, bytes: 1 }] };
  expect(await completeTask(steward.catalog, holder.resourceId, task, late)).toBe('STALE');
  await optimizer.relaunch();
  await committedOnce(table, process, 5);
});

test('healthy tables are left alone: executing, committing, just acknowledged, SUCCESS within the grace', async () => {
  await optimizer.relaunch({ 'merge-delay-ms': '1500' });
  const table = await steward.table('healthy', 5);
  const process = await steward.optimize(table);
  await allAre('ACKED', process);
  expect((await steward.heal({ graces: {} })).stuck, 'just acknowledged').toEqual([]);
  await due(process);
  expect((await steward.heal()).stuck, 'executing past the grace').toEqual([]);
  const lock = await steward.hold(lockTable(table));
  await allAre('SUCCESS', process);
  expect((await steward.heal({ graces: {} })).stuck, 'SUCCESS within the grace').toEqual([]);
  await lock.release();
  await due(process);
  // A commit that takes long: its own lock wait keeps it running.
  const slow = await steward.hold('LOCK TABLE snapshot IN ACCESS EXCLUSIVE MODE');
  await steward.heal();
  await statusDue(table);
  expect((await steward.heal()).stuck, 'committing').toEqual([]);
  await slow.release();
  await committedOnce(table, process, 5);
  expect(await steward.tasks(process)).toMatchObject([{ attempt: 1 }]);
});

async function allAre(state: string, process: number): Promise<void> {
  await eventually(`all tasks of ${process} are ${state}`, async () => {
    const tasks = await steward.tasks(process);
    return tasks.length > 0 && tasks.every((task) => task.state === state);
  });
}

/** Resolves when what happened last to the tasks is older than every grace. */
async function due(process: number): Promise<void> {
  await eventually('the grace has passed', async () => {
    const { rows } = await sql<{ due: boolean }>`
      SELECT max(state_since) < now() - interval '310 ms' AS due FROM optimizing_task WHERE process_id = ${process}
    `.execute(steward.catalog);
    return rows[0]!.due;
  });
}

async function statusDue(table: string): Promise<void> {
  await eventually('the grace has passed', async () => {
    const { rows } = await sql<{ due: boolean }>`
      SELECT status_since < now() - interval '310 ms' AS due FROM data_table WHERE name = ${table}
    `.execute(steward.catalog);
    return rows[0]!.due;
  });
}

async function committedOnce(table: string, process: number, files: number): Promise<void> {
  await steward.idle(table);
  expect(await steward.process(process)).toMatchObject({ state: 'SUCCESS' });
  expect(await steward.status(table)).toMatchObject({ files: 1, rows: files * 3, snapshotId: files + 1 });
  const made = await steward.catalog
    .selectFrom('snapshot')
    .select('snapshot_id')
    .where('process_id', '=', process)
    .execute();
  expect(made).toHaveLength(1);
  expect(await steward.ids(table)).toEqual(upTo(files * 3));
}

/** What stands below a title, up to the next one. */
function sectionOf(page: string, title: string): string | undefined {
  return page
    .split('\n\n')
    .find((part) => part.startsWith(`${title}\n`))
    ?.slice(title.length + 1)
    .trimEnd();
}
