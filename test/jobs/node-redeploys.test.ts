import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { submit } from '../node/region-operations.js';
import { eventually } from '../support/eventually.js';
import {
  children,
  deployment,
  files,
  idsIn,
  listed,
  locationOf,
  numbers,
  partsOf,
  type Site,
  stagedIn,
  startSite,
  writeCsv,
} from './task-groups.js';

const REDEPLOYS = 1000;
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

test('1,000 redeploys leave threads, handles, memory, processes and files at the baseline', {
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

  expect(after.threads).toBeLessThanOrEqual(before.threads + 2);
  expect(after.handles).toBeLessThanOrEqual(before.handles + 4);
  expect(after.rssMb).toBeLessThanOrEqual(before.rssMb + 100);
  const scratch = join(node.data, 'scratch');
  expect(existsSync(scratch) ? readdirSync(scratch) : []).toEqual([]);
  for (const job of jobs) {
    const executions = 10 + REDEPLOYS / JOBS;
    expect(stagedIn(sinkOf(job))).toEqual([]);
    expect(partsOf(sinkOf(job))).toHaveLength(executions);
    expect(idsIn(sinkOf(job))).toEqual(numbers(1, ROWS).flatMap((id) => Array<number>(executions).fill(id)));
  }
});
