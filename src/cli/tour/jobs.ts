import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { type JobDescription, type StewardClient, StewardError } from '../../client/index.js';
import { stewardHome } from '../../local/layout.js';
import { projectRoot } from '../../project.js';
import { counted } from '../../rules/counted.js';
import type { JobSpec } from '../../rules/job-spec.js';
import { readJob } from '../commands/job.js';
import { formatDuration } from '../duration.js';
import { type Part, type Tour, until } from './part.js';

const EXAMPLE = join(projectRoot, 'examples/jobs/orders.yaml');
const ROWS = 100;
const ZOMBIE_AFTER_MS = 4_000;
const HANGS_FOR_MS = 3_600_000;
const TOMBSTONE_MS = 2_000;
const WITHIN_MS = 60_000;

/**
 * A batch job over sample files; a job whose task group hangs, is found to be a zombie and started again; and what becomes of
 * the state of jobs that are over.
 *
 * @param breaks false: only the batch job
 */
export async function jobTour(tour: Tour, breaks: boolean): Promise<Part[]> {
  const id = randomUUID().slice(0, 8);
  const orders = await runOrders(tour, `orders-${id}`);
  const hung = breaks ? await runZombie(tour, `hangs-${id}`) : undefined;
  const { jobId, freeAt } = orders.job;
  return [
    {
      title: 'JOBS',
      happened: [orders.text, ...(hung === undefined ? [] : [hung.text])],
      look: ['steward job list', `steward job show ${jobId}`],
    },
    {
      title: 'CLEANUP',
      happened: [
        ...(hung === undefined ? [] : [hung.purged]),
        `the state of job ${jobId} stays as a tombstone until ${freeAt}; then it is purged, and the id is free`,
      ],
      look: ['steward job list', 'steward schedule list'],
    },
  ];
}

async function runOrders(
  { client, say }: Tour,
  jobId: string,
): Promise<{ readonly text: string; readonly job: JobDescription }> {
  const { job } = await readJob(EXAMPLE);
  const directory = sinkOf(jobId);
  const pipelines = job.pipelines.map((pipeline) => ({ ...pipeline, sink: { ...pipeline.sink, directory } }));
  say(`running job ${jobId}: examples/jobs/orders.yaml over three files`);
  const handle = await client.jobs.submit({ jobId, job: { ...job, pipelines } });
  const { rowsIn, rowsOut } = await handle.result();
  const ended = await client.jobs.get(jobId);
  const nodes = [...new Set(ended.locations.map(({ nodeId }) => nodeId ?? ''))].sort((a, b) =>
    a.localeCompare(b),
  );
  return {
    text: `job ${jobId} read ${rowsIn} rows and wrote ${rowsOut} (amounts above 0) as Parquet into ${directory}, deployed on ${nodes.join(', ')}`,
    job: ended,
  };
}

async function runZombie(
  { client, say }: Tour,
  jobId: string,
): Promise<{ readonly text: string; readonly purged: string }> {
  const nodes = (await client.nodes.list()).map(({ nodeId }) => nodeId);
  const faults = new Map(
    await Promise.all(nodes.map(async (nodeId) => [nodeId, await client.nodes.faults(nodeId)] as const)),
  );
  for (const one of faults.values()) {
    await one.set({
      target: 'run-task-group',
      kind: 'DELAY',
      delayMs: HANGS_FOR_MS,
      match: `/${jobId}/`,
      times: 1,
    });
  }
  say(`running job ${jobId}, whose task group hangs`);
  const handle = await client.jobs.submit({ jobId, job: rateJob(sinkOf(jobId)) });
  const nodeId = await until(`job ${jobId} runs`, () => runsOn(client, jobId), WITHIN_MS);
  // Wherever it is started again it works.
  for (const [other, one] of faults) if (other !== nodeId) await one.clear();
  const { rowsOut, restarts } = await handle.result();
  const ended = Date.now();
  await until(`the state of job ${jobId} is purged`, () => isPurged(client, jobId), WITHIN_MS);
  return {
    text:
      `job ${jobId} hung on ${nodeId}: after ${formatDuration(ZOMBIE_AFTER_MS)} without progress it was found to be a zombie, ` +
      `and finished after ${counted(restarts, 'restart')}: ${rowsOut} of ${ROWS} rows out`,
    purged: `the state of job ${jobId}, whose tombstone stands for ${formatDuration(TOMBSTONE_MS)}, was gone ${formatDuration(Date.now() - ended)} after its end`,
  };
}

async function runsOn(client: StewardClient, jobId: string): Promise<string | undefined> {
  const { state, locations } = await client.jobs.get(jobId);
  return state === 'RUNNING' ? locations[0]?.nodeId : undefined;
}

async function isPurged(client: StewardClient, jobId: string): Promise<boolean> {
  try {
    await client.jobs.get(jobId);
    return false;
  } catch (error) {
    if (error instanceof StewardError && error.code === 'NOT_FOUND') return true;
    throw error;
  }
}

function sinkOf(jobId: string): string {
  return join(stewardHome(), 'jobs', jobId);
}

function rateJob(directory: string): JobSpec {
  return {
    env: {
      jobMode: 'BATCH',
      retryTimes: 2,
      progressTimeoutMs: ZOMBIE_AFTER_MS,
      stateCleanupDelayMs: TOMBSTONE_MS,
    },
    pipelines: [
      {
        pipeline: 1,
        transform: '',
        sink: { directory, format: 'ndjson' },
        parallelism: 1,
        checkpointIntervalMs: 500,
        taskGroups: [{ taskGroup: 1, source: { kind: 'rate', first: 0, rows: ROWS, rowsPerSecond: ROWS } }],
      },
    ],
  };
}
