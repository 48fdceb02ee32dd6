import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { MockActivityEnvironment } from '@temporalio/testing';
import { sql } from 'kysely';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { FoundStuck } from '../../activities/optimizing/detect-stuck.js';
import { createHealActivities, type HealDependencies } from '../../activities/optimizing/heal.js';
import type { Catalog } from '../../src/catalog/catalog.js';
import { catalogId } from '../../src/catalog/catalog.js';
import { completeTask } from '../../src/catalog/optimizing/completion.js';
import type { HandedOutTask } from '../../src/catalog/optimizing/handing-out.js';
import type { KnownOptimizer } from '../../src/catalog/optimizing/optimizers.js';
import { planTable } from '../../src/catalog/optimizing/planning.js';
import { settleProcess } from '../../src/catalog/optimizing/settling.js';
import type { OptimizerEngine } from '../../src/engines/optimizers.js';
import { createLogger } from '../../src/log.js';
import { Outbox } from '../../src/optimizer/outbox.js';
import { healStuckCommitsInput } from '../../src/rules/optimizing-input.js';
import { registerTestNode } from '../support/catalog.js';
import { seededRandom } from '../support/random.js';
import { type OptimizingRoom, optimizingRoom, rowsFrom, upTo } from './optimizing-room.js';

const INTERLEAVINGS = 200;
/** Seeds at a time: each has a table of its own. */
const LANES = 4;
const FILES = 6;
/** So small that the files of a table make several tasks. */
const TASK_BYTES = 1_200;
const AT_ONCE = { ackTimeoutMs: 0, settleGraceMs: 0, resultGraceMs: 0, commitGraceMs: 0 };

let room: OptimizingRoom;
let impatient: Catalog;
beforeAll(async () => {
  room = await optimizingRoom();
  impatient = room.impatient(40);
  await registerTestNode(room.catalog, 'node-1');
});
afterAll(async () => {
  await impatient?.destroy();
  await room?.stop();
});

test(`heals, retries of the optimizer, a coordinator that is killed and a manual heal at once, ${INTERLEAVINGS} interleavings: one beginCommitting, one commit, no row lost or doubled`, async () => {
  const begun = new Map<number, number>();
  let planning: Promise<unknown> = Promise.resolve();
  const interleave = async (seed: number) => {
    const random = seededRandom(seed);
    const pause = () => sleep(Math.floor(random() * 12));
    const table = await room.filled(FILES);
    const optimizer = await room.optimizer();
    // The tasks are taken from the queue of the group: one table after another.
    const taken = planning.then(() => planAndTake(table, optimizer));
    planning = taken.catch(() => undefined);
    const { processId, tasks } = await taken;

    const outbox = new Outbox(join(room.directory, `outbox-${seed}`), createLogger('outbox'));
    mkdirSync(join(room.directory, `outbox-${seed}`), { recursive: true });
    for (const task of tasks) {
      const output = await room.merge(task);
      outbox.put({ ...taskKey(task), location: task.location, result: { outputs: [output] } });
    }
    await sql`UPDATE optimizing_task SET node_id = 'node-1' WHERE process_id = ${processId}`.execute(
      room.catalog,
    );

    const starts: Promise<unknown>[] = [];
    const commit = async () => {
      await pause();
      await room.commit(processId);
    };
    const settle = async (catalog: Catalog) => {
      const verdict = await settleProcess(catalog, processId);
      if (verdict.kind !== 'COMMITTING') return;
      if (verdict.began) begun.set(processId, (begun.get(processId) ?? 0) + 1);
      starts.push(commit());
    };
    const counted: HealDependencies['startCommit'] = async () => {
      starts.push(commit());
      return true;
    };
    const heals = createHealActivities({
      catalog: impatient,
      catalogId: await catalogId(room.catalog),
      optimizers: outboxes(outbox),
      isCommitting: async () => false,
      startCommit: counted,
      log: createLogger('heal'),
    });
    const heal = async () => {
      await pause();
      const input = healStuckCommitsInput({ table, graces: AT_ONCE, actor: 'tester' });
      const found = await new MockActivityEnvironment().run(heals.detectStuck, input);
      const { stuck } = found as FoundStuck;
      await pause();
      await new MockActivityEnvironment().run(heals.healStuck, stuck, input);
    };
    /** T1 and, unless the coordinator dies in between, T2; a lock that is not got undoes the one that wanted it. */
    const complete = async (task: HandedOutTask, killed: boolean) => {
      await pause();
      const { outputs } = outbox.find(taskKey(task))!.result as { outputs: never[] };
      const recorded = await completeTask(impatient, optimizer.resourceId, task, {
        kind: 'MERGED',
        outputs,
      }).catch(() => 'LOST');
      await pause();
      if (recorded === 'RECORDED' && !killed) await settle(impatient).catch(() => {});
    };
    const restarted = async () => {
      await pause();
      await room.optimizer(optimizer.resourceId);
      await Promise.all(tasks.map((task) => complete(task, false)));
    };
    const locking = async () => {
      await pause();
      await room.catalog.transaction().execute(async (transaction) => {
        await sql`SELECT FROM data_table WHERE name = ${table} FOR UPDATE`.execute(transaction);
        await sleep(Math.floor(random() * 80));
      });
    };
    await Promise.all([
      ...tasks.map((task) => complete(task, random() < 0.5)),
      heal(),
      heal(),
      random() < 0.5 ? restarted() : heal(),
      random() < 0.5 ? locking() : room.ingest(table, rowsFrom(FILES * 3)).then(() => {}),
    ]);
    while (starts.length > 0) await starts.pop();
    for (let cycle = 0; (await room.status(table)).status !== 'IDLE'; cycle += 1) {
      if (cycle > 10) throw new Error(`seed ${seed}: ${JSON.stringify(await room.status(table))}`);
      await heal();
      while (starts.length > 0) await starts.pop();
    }

    const { processes, rows } = await room.status(table);
    expect(processes, `seed ${seed}`).toMatchObject([{ process_id: processId, state: 'SUCCESS' }]);
    const made = await room.catalog
      .selectFrom('snapshot')
      .select('snapshot_id')
      .where('process_id', '=', processId)
      .execute();
    expect(made, `seed ${seed}`).toHaveLength(1);
    expect(begun.get(processId) ?? 0, `seed ${seed}: beginCommitting`).toBeLessThanOrEqual(1);
    expect(await room.ids(table), `seed ${seed}`).toEqual(upTo(rows));
    expect([FILES * 3, FILES * 3 + 3]).toContain(rows);
    expect(
      (await room.tasks(processId)).every(({ attempt }) => attempt === 1),
      `seed ${seed}: merged once`,
    ).toBe(true);
  };
  const seeds = upTo(INTERLEAVINGS).values();
  const lane = async () => {
    for (const seed of seeds) await interleave(seed);
  };
  await Promise.all(upTo(LANES).map(lane));
}, 240_000);

async function planAndTake(
  table: string,
  optimizer: KnownOptimizer,
): Promise<{ processId: number; tasks: HandedOutTask[] }> {
  const planned = await planTable(room.catalog, table, {
    actor: 'tester',
    kind: 'FULL',
    targetFileBytes: TASK_BYTES,
  });
  if (planned.kind !== 'PLANNED') throw new Error(JSON.stringify(planned));
  const tasks: HandedOutTask[] = [];
  while (tasks.length < planned.tasks) tasks.push(await room.take(optimizer));
  return { processId: planned.processId, tasks };
}

/** Asks the outbox on disk, as the node does. */
function outboxes(outbox: Outbox): OptimizerEngine {
  const none = () => Promise.reject(new Error('no container here'));
  return {
    submit: none,
    async *listResources() {},
    async getTaskResult(_, { taskId, attempt }) {
      const entry = outbox.find({ taskId, attempt });
      if (entry === undefined) return { kind: 'NONE' };
      const { result } = entry;
      return 'error' in result
        ? { kind: 'RESULT', outcome: { kind: 'ERROR', error: result.error } }
        : { kind: 'RESULT', outcome: { kind: 'MERGED', outputs: result.outputs } };
    },
  };
}

function taskKey({ processId, taskNo, attempt }: HandedOutTask) {
  return { taskId: `${processId}/${taskNo}`, attempt };
}
