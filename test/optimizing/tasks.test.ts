import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { completeTask } from '../../src/catalog/optimizing/completion.js';
import { ackTask, planTaskAgain, pollTask } from '../../src/catalog/optimizing/handing-out.js';
import { findOptimizer, registerOptimizer, touchOptimizer } from '../../src/catalog/optimizing/optimizers.js';
import { planTable } from '../../src/catalog/optimizing/planning.js';
import { settleProcess } from '../../src/catalog/optimizing/settling.js';
import { GROUP, type OptimizingRoom, optimizingRoom, TARGET, upTo } from './optimizing-room.js';

let room: OptimizingRoom;
beforeAll(async () => {
  room = await optimizingRoom();
});
afterAll(() => room.stop());
afterEach(async () => {
  await room.catalog.deleteFrom('optimizing_process').execute();
  await room.catalog.deleteFrom('data_table').execute();
  await room.catalog.deleteFrom('optimizer').execute();
});

function registration(resourceId: string, launch: number) {
  return { resourceId, group: GROUP, launch, threads: 1, memoryMb: 256, nodeId: undefined };
}

describe('an optimizer', () => {
  it('inherits the tasks of its resource under a new token, and the old token is not valid any more', async () => {
    const process = await room.planned(await room.table(), 2);
    const before = await room.optimizer();
    const task = await room.take(before);
    const after = await room.optimizer(before.resourceId);
    expect(await touchOptimizer(room.catalog, before.resourceId, before.token)).toEqual({
      kind: 'UNKNOWN_TOKEN',
    });
    expect(await findOptimizer(room.catalog, before.token)).toBeUndefined();
    expect((await room.tasks(process))[0]).toMatchObject({ state: 'ACKED', attempt: 1, token: after.token });
    expect(await room.complete(after, task)).toBe('RECORDED');
  });

  it('inherits them also when it had expired', async () => {
    await room.planned(await room.table(), 1);
    const before = await room.optimizer();
    const task = await room.take(before);
    await room.catalog.deleteFrom('optimizer').execute();
    const after = await room.optimizer(before.resourceId);
    expect(await room.complete(after, task)).toBe('RECORDED');
  });

  it('of an older launch is fenced, and so is one of a resource that is released, unknown, or of another group', async () => {
    const resource = await room.resource();
    const first = await room.optimizer(resource);
    await room.catalog
      .updateTable('optimizer_resource')
      .set({ epoch: 2 })
      .where('resource_id', '=', resource)
      .execute();
    expect(await registerOptimizer(room.catalog, registration(resource, 1))).toMatchObject({
      kind: 'REFUSED',
      reason: expect.stringContaining('launch 1'),
    });
    // Its token is valid until the new launch registers.
    expect(await touchOptimizer(room.catalog, resource, first.token)).toMatchObject({ kind: 'ALIVE' });
    await room.optimizer(resource, 2);
    expect(await touchOptimizer(room.catalog, resource, first.token)).toMatchObject({
      kind: 'UNKNOWN_TOKEN',
    });
    expect(await registerOptimizer(room.catalog, registration(resource, 0))).toMatchObject({
      kind: 'REFUSED',
    });
    expect(
      await registerOptimizer(room.catalog, { ...registration(resource, 2), group: 'other' }),
    ).toMatchObject({ kind: 'REFUSED', reason: expect.stringContaining('belongs to group') });
    expect(await registerOptimizer(room.catalog, registration('nobody', 1))).toMatchObject({
      kind: 'REFUSED',
    });
    await room.catalog
      .updateTable('optimizer_resource')
      .set({ state: 'RELEASING' })
      .where('resource_id', '=', resource)
      .execute();
    expect(await registerOptimizer(room.catalog, registration(resource, 2))).toMatchObject({
      kind: 'REFUSED',
    });
    const { token } = await room.catalog
      .selectFrom('optimizer')
      .select('token')
      .where('resource_id', '=', resource)
      .executeTakeFirstOrThrow();
    expect(await touchOptimizer(room.catalog, resource, token)).toMatchObject({ kind: 'REFUSED' });
  });

  it('that no container started registers with launch 0, and again', async () => {
    const resource = await room.resource();
    await room.optimizer(resource, 0);
    await room.optimizer(resource, 0);
    const row = await room.catalog
      .selectFrom('optimizer_resource')
      .select('registered_launch')
      .where('resource_id', '=', resource)
      .executeTakeFirstOrThrow();
    expect(row.registered_launch).toBe(1);
  });

  it('of two that register at once for one resource, one has a valid token', async () => {
    const resource = await room.resource();
    const both = await Promise.all(upTo(8).map(() => room.optimizer(resource)));
    const valid = await Promise.all(both.map(({ token }) => findOptimizer(room.catalog, token)));
    expect(valid.filter((known) => known !== undefined)).toHaveLength(1);
  });
});

describe('handing out', () => {
  it('gives each task to one of 50 that poll at once', async () => {
    await room.planned(await room.table(), 30);
    const optimizers = await Promise.all(upTo(5).map(() => room.optimizer()));
    const polled = await Promise.all(upTo(50).map((n) => pollTask(room.catalog, optimizers[n % 5]!)));
    const tasks = polled.filter((task) => task !== undefined).map(({ taskNo }) => taskNo);
    expect(new Set(tasks).size).toBe(tasks.length);
    // SKIP LOCKED may let a poll go empty; whoever asks again finds the rest.
    for (;;) {
      const task = await pollTask(room.catalog, optimizers[0]!);
      if (task === undefined) break;
      tasks.push(task.taskNo);
    }
    expect(tasks.sort((a, b) => a - b)).toEqual(upTo(30).map((n) => n + 1));
  });

  it('lets a small process take its turn among the tasks of a large one', async () => {
    const optimizer = await room.optimizer();
    const large = await room.filled(3);
    await room.catalog.updateTable('data_table').set({ status: 'IDLE' }).execute();
    const big = await room.planned(large, 40);
    for (const _ of upTo(10)) await room.take(optimizer);
    const small = await room.plan(await room.filled(3));
    const next = [await room.take(optimizer), await room.take(optimizer), await room.take(optimizer)];
    expect(next.map(({ processId }) => processId)).toEqual([big, small, big]);
  });

  it('does not wait for a task that another one is taking', async () => {
    await room.planned(await room.table(), 2);
    const optimizer = await room.optimizer();
    await room.catalog.transaction().execute(async (holding) => {
      await holding
        .selectFrom('optimizing_task')
        .select('task_no')
        .where('task_no', '=', 1)
        .where('state', '=', 'PLANNED')
        .forUpdate()
        .execute();
      expect(await pollTask(room.catalog, optimizer)).toMatchObject({ taskNo: 2 });
      expect(await pollTask(room.catalog, optimizer)).toBeUndefined();
    });
    expect(await pollTask(room.catalog, optimizer)).toMatchObject({ taskNo: 1 });
  });

  it('gives nothing to a token that is not valid any more', async () => {
    await room.planned(await room.table(), 1);
    const before = await room.optimizer();
    await room.optimizer(before.resourceId);
    expect(await pollTask(room.catalog, before)).toBeUndefined();
  });

  it('takes an ack twice, and refuses that of another optimizer, another attempt and a task planned again', async () => {
    const process = await room.planned(await room.table(), 1);
    const [mine, other] = [await room.optimizer(), await room.optimizer()];
    const task = (await pollTask(room.catalog, mine))!;
    expect(await ackTask(room.catalog, other, task)).toBe('STALE');
    expect(await ackTask(room.catalog, mine, { ...task, attempt: 2 })).toBe('STALE');
    expect(await ackTask(room.catalog, mine, task)).toBe('ACKED');
    expect(await ackTask(room.catalog, mine, task)).toBe('ACKED');
    expect(await planTaskAgain(room.catalog, task, 'ack time-out')).toBe(true);
    expect(await planTaskAgain(room.catalog, task, 'ack time-out')).toBe(false);
    expect(await ackTask(room.catalog, mine, task)).toBe('STALE');
    expect(await room.tasks(process)).toMatchObject([
      { state: 'PLANNED', attempt: 2, resource_id: null, last_error: 'ack time-out' },
    ]);
  });
});

describe('a completion', () => {
  it('is recorded once, and again is an answer', async () => {
    const process = await room.planned(await room.table(), 2);
    const optimizer = await room.optimizer();
    const task = await room.take(optimizer);
    expect(await room.complete(optimizer, task)).toBe('RECORDED');
    expect(await room.complete(optimizer, task)).toBe('RECORDED');
    expect(await room.fail(optimizer, task)).toBe('RECORDED');
    expect((await room.tasks(process))[0]).toMatchObject({ state: 'SUCCESS', failures: 0, settled: false });
  });

  it('counts although its ack was lost', async () => {
    await room.planned(await room.table(), 1);
    const optimizer = await room.optimizer();
    const task = (await pollTask(room.catalog, optimizer))!;
    expect(await room.complete(optimizer, task)).toBe('RECORDED');
  });

  it('is stale for a task planned again, of another resource, of a process that is over, or unknown', async () => {
    const table = await room.table();
    const process = await room.planned(table, 2);
    const [mine, other] = [await room.optimizer(), await room.optimizer()];
    const task = await room.take(mine);
    expect(await room.complete(other, task)).toBe('STALE');
    await planTaskAgain(room.catalog, task, 'lost');
    expect(await room.complete(mine, task)).toBe('STALE');
    // Also when the same optimizer has the next attempt.
    const mineAgain = await room.take(mine);
    expect(mineAgain).toMatchObject({ taskNo: task.taskNo, attempt: 2 });
    expect(await room.complete(mine, task)).toBe('STALE');
    await planTaskAgain(room.catalog, mineAgain, 'lost');
    const again = await room.take(other);
    expect(again).toMatchObject({ taskNo: task.taskNo, attempt: 3 });
    expect(again.output).not.toBe(task.output);
    expect(await room.complete(mine, task)).toBe('STALE');
    await room.catalog
      .updateTable('optimizing_task')
      .set({ state: 'CANCELED' })
      .where('process_id', '=', process)
      .execute();
    expect(await room.complete(other, again)).toBe('STALE');
    expect(await room.complete(other, { ...again, taskNo: 99 })).toBe('STALE');
  });

  it('with other rows than its inputs, or another file, is a failure of the attempt', async () => {
    const process = await room.planned(await room.table(), 2);
    const optimizer = await room.optimizer();
    const [one, two] = [await room.take(optimizer), await room.take(optimizer)];
    await room.complete(optimizer, one, { path: one.output, rows: 2, bytes: 1 });
    await room.complete(optimizer, two, { path: one.output, rows: 3, bytes: 1 });
    expect(await room.tasks(process)).toMatchObject([
      { state: 'FAILED', last_error: '1 outputs of 2 rows for 1 inputs of 3 rows' },
      { state: 'FAILED', last_error: expect.stringContaining('instead of') },
    ]);
  });
});

describe('settling', () => {
  it('begins the commit with the last task, once', async () => {
    const table = await room.table();
    const process = await room.planned(table, 2);
    const optimizer = await room.optimizer();
    const [one, two] = [await room.take(optimizer), await room.take(optimizer)];
    await room.complete(optimizer, one);
    expect(await settleProcess(room.catalog, process)).toMatchObject({ kind: 'OPEN', open: 1 });
    await room.complete(optimizer, two);
    expect((await room.tasks(process)).map(({ settled }) => settled)).toEqual([true, false]);
    expect(await settleProcess(room.catalog, process)).toMatchObject({ kind: 'COMMITTING', began: true });
    expect(await settleProcess(room.catalog, process)).toMatchObject({ kind: 'COMMITTING', began: false });
    expect((await room.tasks(process)).map(({ settled }) => settled)).toEqual([true, true]);
    expect(await room.status(table)).toMatchObject({ status: 'COMMITTING' });
  });

  it('plans a failed task again under a new attempt, and ends the process with its fifth failure', async () => {
    const table = await room.table();
    const process = await room.planned(table, 2);
    const optimizer = await room.optimizer();
    const other = await room.optimizer();
    const [first, second] = [await room.take(optimizer), await room.take(other)];
    let task = first;
    for (const failure of [1, 2, 3, 4]) {
      await room.fail(optimizer, task);
      expect(await settleProcess(room.catalog, process)).toMatchObject({ kind: 'OPEN', open: 2 });
      expect((await room.tasks(process))[0]).toMatchObject({ attempt: failure + 1, failures: failure });
      expect(await room.complete(optimizer, task)).toBe('STALE');
      task = await room.take(optimizer);
    }
    await room.fail(optimizer, task);
    const reason = `task ${process}/1 failed 5 times: disk full`;
    expect(await settleProcess(room.catalog, process)).toMatchObject({ kind: 'FAILED', reason });
    expect(await settleProcess(room.catalog, process)).toMatchObject({ kind: 'OVER' });
    expect(await room.status(table)).toMatchObject({
      status: 'IDLE',
      processes: [{ state: 'FAILED', reason, committing_since: null }],
    });
    expect((await room.tasks(process)).map(({ state }) => state)).toEqual(['CANCELED', 'CANCELED']);
    expect(await room.complete(other, second)).toBe('STALE');
  });

  it('changes nothing where the states do not belong together', async () => {
    const table = await room.table();
    const empty = await room.planned(table, 1);
    await room.catalog.deleteFrom('optimizing_task').execute();
    expect(await settleProcess(room.catalog, empty)).toMatchObject({ kind: 'UNLIKE' });
    await room.catalog.updateTable('data_table').set({ status: 'IDLE' }).execute();
    expect(await settleProcess(room.catalog, empty)).toMatchObject({ kind: 'UNLIKE', status: 'IDLE' });
    expect(await settleProcess(room.catalog, 999_999)).toEqual({ kind: 'UNKNOWN' });
  });
});

describe('a lock that another session holds', () => {
  it('on the table: T1 is recorded, T2 gives up at lock_timeout, and settles when asked again', async () => {
    const table = await room.table();
    const process = await room.planned(table, 1);
    const optimizer = await room.optimizer();
    const task = await room.take(optimizer);
    const impatient = room.impatient(150);
    try {
      await room.catalog.transaction().execute(async (holding) => {
        await holding.selectFrom('data_table').select('name').where('name', '=', table).forUpdate().execute();
        const outcome = { kind: 'MERGED', outputs: [{ path: task.output, rows: 3, bytes: 1 }] } as const;
        expect(await completeTask(impatient, optimizer.resourceId, task, outcome)).toBe('RECORDED');
        await expect(settleProcess(impatient, process)).rejects.toThrow('lock timeout');
      });
      expect(await room.tasks(process)).toMatchObject([{ state: 'SUCCESS', settled: false }]);
      expect(await room.status(table)).toMatchObject({
        status: 'MINOR_OPTIMIZING',
        processes: [{ state: 'RUNNING', committing_since: null }],
      });
      expect(await settleProcess(impatient, process)).toMatchObject({ kind: 'COMMITTING', began: true });
    } finally {
      await impatient.destroy();
    }
  });

  it('on the task: T1 is not recorded, and the same result is taken when it is free', async () => {
    const process = await room.planned(await room.table(), 1);
    const optimizer = await room.optimizer();
    const task = await room.take(optimizer);
    const impatient = room.impatient(150);
    const outcome = { kind: 'MERGED', outputs: [{ path: task.output, rows: 3, bytes: 1 }] } as const;
    try {
      await room.catalog.transaction().execute(async (holding) => {
        await holding
          .selectFrom('optimizing_task')
          .select('task_no')
          .where('process_id', '=', process)
          .forUpdate()
          .execute();
        await expect(completeTask(impatient, optimizer.resourceId, task, outcome)).rejects.toThrow(
          'lock timeout',
        );
      });
      expect(await room.tasks(process)).toMatchObject([{ state: 'ACKED' }]);
      expect(await completeTask(impatient, optimizer.resourceId, task, outcome)).toBe('RECORDED');
    } finally {
      await impatient.destroy();
    }
  });
});

describe('a table', () => {
  it('waits as PENDING while its group has no live optimizer, and is planned when one registers', async () => {
    const table = await room.filled(12);
    const options = { actor: 'tester', targetFileBytes: TARGET };
    expect(await planTable(room.catalog, table, options)).toEqual({ kind: 'NO_OPTIMIZER', group: GROUP });
    expect(await room.status(table)).toMatchObject({ status: 'PENDING', processes: [] });
    await room.optimizer();
    const verdict = await planTable(room.catalog, table, options);
    expect(verdict).toMatchObject({ kind: 'PLANNED', optimizing: 'MINOR', tasks: 1, inputFiles: 12 });
    expect(await planTable(room.catalog, table, options)).toMatchObject({
      kind: 'BUSY',
      status: 'MINOR_OPTIMIZING',
    });
    expect(await planTable(room.catalog, `no-${randomUUID()}`, options)).toEqual({ kind: 'UNKNOWN_TABLE' });
  });
});
