import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from 'kysely';
import { expect } from 'vitest';
import { eventually } from '../support/eventually.js';
import { rateJob } from '../support/jobs.js';
import type { Steward } from '../support/steward.js';
import { children, idsIn, numbers, partsOf, stagedIn } from './task-groups.js';

/** Variables for a stack whose machine is busy with many jobs: a node that answers late is not lost. */
export const PATIENT = { STEWARD_RPC_DEADLINE_MS: '5000', STEWARD_NODE_TIMEOUT_MS: '60000' };
/** Ends of task groups are forgotten soon after they were acknowledged. */
export const SHORT_RETENTION = ['--task-group-retention-ms', '500'];

const ROWS = 10;
const SAMPLE_MS = 100;

export interface ShortJobs {
  readonly jobs: number;
  readonly atATime: number;
  readonly delayMs: number;
  /** Takes the sinks. */
  readonly directory: string;
}

export interface ShortJobsRun {
  readonly seconds: number;
  readonly jobsPerSecond: number;
  readonly samples: number;
  readonly mostTombstones: number;
}

/**
 * Runs many short jobs, so many at a time, and looks at the tombstones all the while: at each look there are no more than
 * jobs that ended within twice the delay, and as many as run at a time.
 */
export async function runShortJobs(
  steward: Steward,
  { jobs, atATime, delayMs, directory }: ShortJobs,
): Promise<ShortJobsRun> {
  const began = performance.now();
  const ends: number[] = [];
  let next = 0;
  let samples = 0;
  let mostTombstones = 0;
  let isOver = false;
  const lane = async () => {
    while (next < jobs) {
      const at = next++;
      const source = { rows: ROWS, rowsPerSecond: 10_000 };
      const job = rateJob(sinkOf(directory, at), source, { stateCleanupDelayMs: delayMs });
      const handle = await steward.client.jobs.submit({ jobId: `short-${at}`, job });
      expect(await handle.result()).toMatchObject({ outcome: 'FINISHED', rowsOut: ROWS, restarts: 0 });
      ends.push(performance.now());
    }
  };
  const look = async () => {
    while (!isOver) {
      const since = performance.now() - 2 * delayMs;
      const tombstones = await steward.catalog
        .selectFrom('job')
        .select('job_id')
        .where('ended_at', 'is not', null)
        .execute();
      const recent = ends.filter((end) => end >= since).length;
      expect(tombstones.length, `${recent} jobs ended lately`).toBeLessThanOrEqual(recent + atATime);
      mostTombstones = Math.max(mostTombstones, tombstones.length);
      samples += 1;
      await sleep(SAMPLE_MS);
    }
  };
  const lanes = Promise.all(Array.from({ length: atATime }, lane)).finally(() => {
    isOver = true;
  });
  await Promise.all([lanes, look()]);
  const seconds = (performance.now() - began) / 1_000;
  return { seconds, jobsPerSecond: jobs / seconds, samples, mostTombstones };
}

/**
 * Nothing is left of these jobs but what is meant to stay: their rows at the sink, once, and at the nodes one outcome and
 * one epoch of each task group.
 */
export async function expectNothingLeft(steward: Steward, { jobs, directory }: ShortJobs): Promise<void> {
  const tables = await tablesOfJobs(steward);
  expect(tables).toEqual(
    expect.arrayContaining(['job', 'pipeline', 'task_group', 'checkpoint', 'savepoint']),
  );
  for (const table of tables) {
    await eventually(`no row is left in ${table}`, async () => (await rowsOf(steward, table)) === 0);
  }
  const open = `WorkflowType IN ('runJob', 'purgeJobState') AND ExecutionStatus = 'Running'`;
  await eventually('no workflow is open', async () => (await countWorkflows(steward, open)) === 0);

  let epochs = 0;
  for (const { name, pid } of steward.nodes) {
    const { inventory, node } = steward.rpc(name);
    const { ledgerId } = await node.getNodeInfo({});
    const ref = { nodeId: name, ledgerId };
    await eventually(`${name} lists no task group`, async () => {
      const { taskGroups } = await inventory.listTaskGroups({ node: ref });
      return taskGroups.length === 0;
    });
    await eventually(`${name} has no process left`, () => children(pid).length === 0);
    const scratch = join(steward.nodeDirectory(name), 'scratch');
    expect(existsSync(scratch) ? readdirSync(scratch) : []).toEqual([]);
    let pageToken = '';
    do {
      const page = await inventory.listEpochs({ node: ref, pageSize: 1_000, pageToken });
      epochs += page.epochs.filter(({ resource }) => resource.includes('/short-')).length;
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
  }
  expect(epochs).toBe(jobs);
  for (const at of numbers(0, jobs)) {
    const sink = sinkOf(directory, at);
    expect(stagedIn(sink)).toEqual([]);
    expect(partsOf(sink)).toHaveLength(1);
    expect(idsIn(sink)).toEqual(numbers(0, ROWS));
  }
}

function sinkOf(directory: string, at: number): string {
  return join(directory, `short-${at}`);
}

/** Every table of the catalog that has rows of jobs. */
async function tablesOfJobs({ catalog }: Steward): Promise<string[]> {
  const { rows } = await sql<{ name: string }>`
    SELECT table_name AS name FROM information_schema.columns
    WHERE table_schema = current_schema() AND column_name = 'job_id'
  `.execute(catalog);
  return rows.map(({ name }) => name);
}

async function rowsOf({ catalog }: Steward, table: string): Promise<number> {
  const { rows } = await sql<{ count: number }>`
    SELECT count(*) AS count FROM ${sql.table(table)} WHERE job_id LIKE 'short-%'
  `.execute(catalog);
  return Number(rows[0]!.count);
}

async function countWorkflows({ temporal }: Steward, query: string): Promise<number> {
  const { count } = await temporal.client.workflow.count(query);
  return count;
}
