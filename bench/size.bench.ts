import { statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from 'kysely';
import { open } from 'lmdb';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { SCHEDULES } from '../src/temporal/schedules.js';
import { type OptimizingSteward, startOptimizingSteward } from '../test/optimizing/optimizing-steward.js';
import { eventually } from '../test/support/eventually.js';
import { rateJob } from '../test/support/jobs.js';
import { copyJob, copyTable } from './copied-rows.js';

/** What is kept where, and how much of it: the numbers of docs/production.md, "Size it". */
const CREATIONS = 10;
const GROUPS_EACH = 1_000;
const GROUPS = CREATIONS * GROUPS_EACH;
const COPIES = 10_000;
const NODES = ['node-1', 'node-2', 'node-3'];
const SAMPLE_MS = 20;
/** The job and the table that run for real, and are copied. */
const NAME = 'sized';

let steward: OptimizingSteward;
beforeAll(async () => {
  const quiet = {
    STEWARD_LOG_LEVEL: 'warn',
    STEWARD_RPC_DEADLINE_MS: '5000',
    STEWARD_NODE_TIMEOUT_MS: '60000',
  };
  steward = await startOptimizingSteward({
    nodes: NODES.length,
    nodeFlags: ['--regions=ledger'],
    nodeEnv: quiet,
    workerEnv: quiet,
    coordinatorEnv: quiet,
  });
}, 120_000);
afterAll(() => steward?.stop());

test(`the catalog and the ledgers, with ${GROUPS} region groups of ${NODES.length} replicas; connections meanwhile`, async () => {
  const connections = countConnections();
  await steward.client.databases.create({ name: NAME });
  const creations = await Promise.all(
    Array.from({ length: CREATIONS }, async () => {
      const creation = await steward.client.regionGroups.create({
        database: NAME,
        kind: 'DATA',
        groups: GROUPS_EACH,
        replicationFactor: NODES.length,
      });
      await creation.result();
      return creation.operationId;
    }),
  );
  expect(creations).toHaveLength(CREATIONS);
  await reportTables(`${GROUPS} region groups created`, ['region_group', 'replica']);
  reportLedger(`${GROUPS} regions created`);

  const groups = (await steward.client.regionGroups.list({ database: NAME })).map(({ groupId }) => groupId);
  expect(groups).toHaveLength(GROUPS);
  const removal = await steward.client.regionGroups.remove({ groups });
  await removal.result();
  await reportTables('and removed', ['region_group', 'replica']);
  reportLedger('and removed');
  console.log(`connections to PostgreSQL meanwhile: ${await connections.end()}`);
}, 600_000);

test('histories, by the type of workflow', async () => {
  const { client } = steward;
  const [group] = await steward.database('one', 1);
  await (await client.regionGroups.remove({ groups: [group!] })).result();
  await (await client.databases.delete('one')).result();
  const job = rateJob(join(steward.directory, 'sink'), { rows: 1_000, rowsPerSecond: 10_000 });
  const running = await client.jobs.submit({ jobId: NAME, job });
  expect(await running.result()).toMatchObject({ outcome: 'FINISHED' });
  await steward.optimizer('node-1');
  await steward.table(NAME, 5);
  const processId = await steward.optimize(NAME);
  await eventually('it is optimized', async () => (await steward.process(processId)).state === 'SUCCESS');
  for (const { scheduleId } of SCHEDULES) await client.schedules.trigger(scheduleId);
  const histories = await eventually('what was triggered is over', async () => {
    const over = await completed();
    return SCHEDULES.every(({ workflowType }) => over.has(workflowType)) && over;
  });
  const lines = [...histories]
    .sort(([one], [other]) => one.localeCompare(other))
    .map(([type, ended]) => {
      const range = (what: 'events' | 'bytes') => {
        const sorted = ended.map((history) => history[what]).sort((a, b) => a - b);
        return `${sorted[0]} to ${sorted.at(-1)} ${what}`;
      };
      return `${type.padEnd(26)} ${String(ended.length).padStart(3)} of ${range('events')}, ${range('bytes')}`;
    });
  console.log(['histories', ...lines].join('\n'));
}, 120_000);

test(`the catalog, with ${COPIES} jobs and ${COPIES} tables that were optimized once`, async () => {
  await copyJob(steward.catalog, NAME, COPIES);
  const jobs = ['job', 'job_state_time', 'pipeline', 'task_group', 'checkpoint'];
  await reportTables(`${COPIES} jobs of 1 task group`, jobs);
  await copyTable(steward.catalog, NAME, COPIES);
  const tables = ['data_table', 'snapshot', 'optimizing_process', 'optimizing_task'];
  await reportTables(`${COPIES} tables of 5 files, optimized once`, tables);
}, 120_000);

/** Workflows that completed, by their type. */
async function completed() {
  const types = new Map<string, { events: number; bytes: number }[]>();
  const over = steward.temporal.client.workflow.list({ query: `ExecutionStatus = 'Completed'` });
  for await (const { type, historyLength, historySize } of over) {
    types.set(type, [...(types.get(type) ?? []), { events: historyLength, bytes: historySize ?? 0 }]);
  }
  return types;
}

/** Bytes with indexes, as the table stands; nothing is vacuumed for it. */
async function reportTables(when: string, names: readonly string[]): Promise<void> {
  const lines = [];
  for (const name of names) {
    const { rows } = await sql<{ bytes: number; rows: number }>`
      SELECT pg_total_relation_size(${name}::regclass) AS bytes, (SELECT count(*) FROM ${sql.table(name)}) AS rows
    `.execute(steward.catalog);
    const { bytes, rows: count } = rows[0]!;
    lines.push(
      `${name.padEnd(20)} ${String(count).padStart(7)} rows, ${mib(bytes)}${each(bytes, count, 'row')}`,
    );
  }
  console.log([`PostgreSQL: ${when}`, ...lines].join('\n'));
}

/** Of the node's LMDB environment, read beside the node: its file, and what the pages in use hold. */
function reportLedger(when: string): void {
  const path = join(steward.nodeDirectory('node-1'), 'ledger');
  const root = open({ path, noSubdir: false, maxDbs: 8, readOnly: true });
  const lines = ['operations', 'epochs', 'pending'].map((name) => {
    const { entryCount, bytes } = pagesOf(root.openDB({ name }).getStats());
    return `${name.padEnd(20)} ${String(entryCount).padStart(7)} entries, ${mib(bytes)}${each(bytes, entryCount, 'entry')}`;
  });
  void root.close();
  const file = statSync(join(path, 'data.mdb')).blocks * 512;
  console.log([`ledger of node-1: ${when}, file of ${mib(file)}`, ...lines].join('\n'));
}

function pagesOf(stats: object): { entryCount: number; bytes: number } {
  const { pageSize, treeBranchPageCount, treeLeafPageCount, overflowPages, entryCount } = stats as Record<
    string,
    number
  >;
  return {
    entryCount: entryCount!,
    bytes: (treeBranchPageCount! + treeLeafPageCount! + overflowPages!) * pageSize!,
  };
}

/** The most that each program had open, and had at work, at a time. */
function countConnections(): { end(): Promise<string> } {
  const most = new Map<string, { open: number; active: number }>();
  let isOver = false;
  const watching = (async () => {
    while (!isOver) {
      const { rows } = await sql<{ program: string; open: number; active: number }>`
        SELECT application_name AS program, count(*) AS open, count(*) FILTER (WHERE state <> 'idle') AS active
        FROM pg_stat_activity WHERE datname = current_database() AND application_name <> 'steward-test' GROUP BY 1
      `.execute(steward.catalog);
      for (const { program, open: opened, active } of rows) {
        const before = most.get(program) ?? { open: 0, active: 0 };
        most.set(program, { open: Math.max(before.open, opened), active: Math.max(before.active, active) });
      }
      await sleep(SAMPLE_MS);
    }
  })();
  return {
    async end() {
      isOver = true;
      await watching;
      return [...most]
        .map(([program, { open: opened, active }]) => `${program} ${opened} open, ${active} at work`)
        .join('; ');
    },
  };
}

function mib(bytes: number): string {
  return `${(bytes / 1_048_576).toFixed(1)} MiB`;
}

function each(bytes: number, count: number, what: string): string {
  return count === 0 ? '' : `, ${Math.round(bytes / count)} bytes a ${what}`;
}
