import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { StewardClient } from '../client/index.js';
import { stewardHome } from '../local/layout.js';
import { projectRoot } from '../local/project.js';
import { jobText, readJob } from './commands/job.js';

const EXAMPLE = join(projectRoot, 'examples/jobs/orders.yaml');

/** The part of the tour that runs a small batch job over sample files, and shows what went in and what came out. */
export async function jobTour(client: StewardClient, say: (line: string) => void): Promise<string> {
  const { job } = await readJob(EXAMPLE);
  const jobId = `orders-${randomUUID().slice(0, 8)}`;
  const directory = join(stewardHome(), 'jobs', jobId);
  const pipelines = job.pipelines.map((pipeline) => ({ ...pipeline, sink: { ...pipeline.sink, directory } }));
  say(`running job ${jobId}: examples/jobs/orders.yaml over three files`);
  const handle = await client.jobs.submit({ jobId, job: { ...job, pipelines } });
  const { rowsIn, rowsOut } = await handle.result();
  return [
    `Job ${jobId} read ${rowsIn} rows and wrote ${rowsOut} (amounts above 0) as Parquet into ${directory}:`,
    jobText(await client.jobs.get(jobId)),
  ].join('\n');
}
