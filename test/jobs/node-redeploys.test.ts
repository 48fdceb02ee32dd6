import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { finish, submit } from '../node/region-operations.js';
import { eventually } from '../support/eventually.js';
import {
  cancellation,
  children,
  deployment,
  files,
  idsIn,
  listed,
  locationOf,
  numbers,
  partsOf,
  rate,
  type Site,
  stagedIn,
  startSite,
  writeCsv,
} from './task-groups.js';

const REDEPLOYS = 1000;
/** In one call. */
const BATCH = 250;
const JOBS = 4;
const ROWS = 5;

let site: Site | undefined;
afterEach(() => site?.end());

interface Footprint {
  readonly threads: number;
  readonly handles: number;
  readonly rssMb: number;
}

function footprint(pid: number): Footprint {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return {
    threads: readdirSync(`/proc/${pid}/task`).length,
    handles: readdirSync(`/proc/${pid}/fd`).length,
    rssMb: Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024,
  };
}

function expectBaseline(after: Footprint, before: Footprint): void {
  expect(after.threads).toBeLessThanOrEqual(before.threads + 2);
  expect(after.handles).toBeLessThanOrEqual(before.handles + 4);
  expect(after.rssMb).toBeLessThanOrEqual(before.rssMb + 100);
}

test('1,000 redeploys of what runs disturb nothing, and leave threads, handles and memory at the baseline', async () => {
  site = await startSite();
  const { node, coordinator } = site;
  coordinator.claim(locationOf(), 1);
  const deploy = (attempt: number) =>
    deployment({ attempt, directory: site!.sink(), source: rate(1, 0, 500), intervalMs: 100 });
  await finish(node, deploy(1));
  const progress = async () => (await listed(node))[0]!.rowsIn;
  const batch = (first: number) => finish(node, ...numbers(first, BATCH).map(deploy));
  await eventually('it runs', async () => (await progress()) > 100n);
  await batch(2);
  const before = footprint(node.process.pid);
  const runners = children(node.process.pid);
  let rows = await progress();
  for (let first = 2 + BATCH; first < 2 + BATCH + REDEPLOYS; first += BATCH) {
    expect(new Set(await batch(first))).toEqual(new Set(['SUCCESS']));
    const now = await progress();
    expect(now).toBeGreaterThanOrEqual(rows);
    rows = now;
  }
  expectBaseline(footprint(node.process.pid), before);
  expect(children(node.process.pid)).toEqual(runners);
  expect(await finish(node, cancellation({ savepoint: true, attempt: 1 }))).toEqual(['SUCCESS']);
  const ids = idsIn(site.sink());
  expect(ids).toEqual(numbers(1, ids.length));
});

test('1,000 redeploys after an end leave threads, handles, memory, processes and files at the baseline', {
  timeout: 400_000,
}, async () => {
  site = await startSite({ flags: ['--task-group-retention-ms', '100'] });
  const { node, coordinator } = site;
  const source = files('csv', writeCsv(`${site.directory}/in.csv`, 1, ROWS));
  const sinkOf = (job: string): string => site!.sink(job);
  const run = async (job: string, execution: number): Promise<void> => {
    coordinator.claim(locationOf(job), execution);
    await submit(node, deployment({ job, execution, directory: sinkOf(job), source }));
    await eventually(
      `${job}@${execution} is acknowledged`,
      () =>
        coordinator.notifications.some(
          ({ taskGroup }) =>
            taskGroup?.taskGroup?.jobId === job &&
            taskGroup.execution === BigInt(execution) &&
            taskGroup.state === 2,
        ),
      60_000,
    );
  };
  const jobs = numbers(1, JOBS).map((i) => `job-${i}`);
  const round = async (first: number, count: number): Promise<void> => {
    await Promise.all(
      jobs.map(async (job) => {
        for (const execution of numbers(first, count)) await run(job, execution);
      }),
    );
    coordinator.notifications.length = 0;
  };
  const settle = () =>
    eventually(
      'nothing runs and nothing is listed',
      async () => children(node.process.pid).length === 0 && (await listed(node)).length === 0,
      40_000,
    );

  await round(1, 10);
  await settle();
  const before = footprint(node.process.pid);
  await round(11, REDEPLOYS / JOBS);
  expect(children(node.process.pid).length).toBeLessThanOrEqual(JOBS);
  await settle();
  const after = footprint(node.process.pid);

  expectBaseline(after, before);
  const scratch = join(node.data, 'scratch');
  expect(existsSync(scratch) ? readdirSync(scratch) : []).toEqual([]);
  for (const job of jobs) {
    const executions = 10 + REDEPLOYS / JOBS;
    expect(stagedIn(sinkOf(job))).toEqual([]);
    expect(partsOf(sinkOf(job))).toHaveLength(executions);
    expect(idsIn(sinkOf(job))).toEqual(numbers(1, ROWS).flatMap((id) => Array<number>(executions).fill(id)));
  }
});
