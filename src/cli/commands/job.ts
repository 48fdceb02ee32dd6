import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { JobDescription, JobEnd, JobStatus, StewardClient } from '../../client/index.js';
import { inWords, JOB_ID } from '../../rules/bounds.js';
import { counted } from '../../rules/counted.js';
import { jobWorkflowId } from '../../rules/job-ids.js';
import type { JobSpec } from '../../rules/job-spec.js';
import { isJobOver } from '../../rules/job-states.js';
import { confirm, type DestroyingOptions, destroys } from '../confirm.js';
import { withClient } from '../connection.js';
import type {
  JobCancelDocument,
  JobDocument,
  JobEndDocument,
  JobPlanDocument,
  JobsDocument,
  JobWaitDocument,
} from '../documents.js';
import { formatDuration } from '../duration.js';
import { UsageError } from '../failure.js';
import {
  type ChangeOptions,
  type ConnectionOptions,
  changes,
  connects,
  duration,
  example,
} from '../options.js';
import { details, listing, section } from '../render.js';
import type { Cell } from '../table.js';
import { colors, print } from '../terminal.js';
import { operationEnd, waitFor } from '../wait.js';

interface SubmitOptions extends ChangeOptions {
  readonly jobId?: string;
  readonly wait?: boolean;
  /** Milliseconds. */
  readonly timeout?: number;
  readonly fromSavepoint?: boolean;
}

interface CancelOptions extends ChangeOptions, DestroyingOptions {
  readonly savepoint?: boolean;
}

/** `steward job` */
export function addJobCommands(program: Command): void {
  const job = program.command('job').description('data jobs, whose task groups run on the nodes');

  example(
    changes(
      job
        .command('submit')
        .description('run a job that a file describes (YAML or JSON)')
        .argument('<file>', 'the job file; its relative paths are taken from where it is')
        .option('--job-id <id>', 'its id; default: what the file says', jobId)
        .option('--wait', 'wait until it is over')
        .addOption(waitingTime())
        .option('--from-savepoint', 'start from the newest savepoint of the id, also over a tombstone'),
    ).action((file: string, options: SubmitOptions) =>
      withClient(options, (client) => submit(client, file, options)),
    ),
    'steward job submit examples/jobs/orders.yaml --dry-run',
    'steward job submit examples/jobs/orders.yaml --job-id orders-1 --wait',
  );

  example(
    connects(job.command('list').description('jobs, the newest first'))
      .option('--running', 'only those that are not over')
      .action((options: ConnectionOptions & { readonly running?: boolean }) =>
        withClient(options, async (client) => {
          const jobs = await client.jobs.list({ running: options.running === true });
          const nothing = options.running ? 'no job runs; see also: steward job list' : 'no jobs';
          print<JobsDocument>(options, { jobs }, () => jobTable(jobs, nothing));
        }),
      ),
    'steward job list --running',
  );

  example(
    connects(job.command('show').description('one job: its task groups, their rows and checkpoints'))
      .argument('<id>', undefined, jobId)
      .action((id: string, options: ConnectionOptions) =>
        withClient(options, async (client) => {
          const job = await client.jobs.get(id);
          const blockers = await blockersOf(client, job);
          print<JobDocument>(options, { job, blockers }, () => jobText(job, blockers));
        }),
      ),
    'steward job show orders-1',
  );

  example(
    connects(job.command('wait').description('wait until a job is over'))
      .argument('<id>', undefined, jobId)
      .addOption(waitingTime())
      .action((id: string, options: ConnectionOptions & { readonly timeout?: number }) =>
        withClient(options, async (client) => {
          const end = await endOf(client, id, options.timeout);
          print<JobWaitDocument>(options, { job: await found(client, id), end }, () => endText(end));
          if (end.outcome !== 'FINISHED' && end.outcome !== 'SAVEPOINT_DONE') process.exitCode = 1;
        }),
      ),
    'steward job wait orders-1 --timeout 5m',
  );

  example(
    destroys(
      changes(job.command('cancel').description('end a job; answers when it is over')).argument(
        '<id>',
        undefined,
        jobId,
      ),
    )
      .option('--savepoint', 'keep where it stands, for "job submit --from-savepoint"')
      .action((id: string, options: CancelOptions) =>
        withClient(options, (client) => cancel(client, id, options)),
      ),
    'steward job cancel clicks --savepoint',
  );
}

async function submit(client: StewardClient, file: string, options: SubmitOptions): Promise<void> {
  const described = await readJob(file);
  const jobId = options.jobId ?? described.jobId;
  if (jobId === undefined) throw new UsageError(`${file} does not name the job: give --job-id`);
  const { job } = described;
  const fromSavepoint = options.fromSavepoint === true;
  if (options.dryRun) {
    print<JobPlanDocument>(options, { dryRun: true, plan: { jobId, job, fromSavepoint } }, () =>
      planText(jobId, job, fromSavepoint),
    );
    return;
  }
  const starting = client.jobs.submit({ jobId, job, fromSavepoint });
  const waited = await waitFor(`job ${jobId}`, starting, {
    wait: options.wait === true,
    timeout: options.timeout,
  });
  const handle = await starting;
  const document: JobEndDocument = {
    job: await found(client, jobId),
    operation: operationEnd(handle, waited),
  };
  print<JobEndDocument>(options, document, () =>
    waited.outcome === 'DONE' ? endText(waited.result) : startedText(jobId),
  );
}

async function cancel(client: StewardClient, id: string, options: CancelOptions): Promise<void> {
  const savepoint = options.savepoint === true;
  if (options.dryRun) {
    const job = await client.jobs.get(id);
    print<JobCancelDocument>(options, { dryRun: true, plan: { job, savepoint } }, () =>
      [`would ask this job to end${savepoint ? ' with a savepoint' : ''}:`, jobText(job)].join('\n'),
    );
    return;
  }
  await confirm(options, async () => {
    // What the catalog does not know, or cannot be asked, has a workflow all the same.
    const job = await client.jobs.get(id).catch(() => client.jobs.handle(id).then(() => undefined));
    if (job !== undefined && isJobOver(job.state)) return undefined;
    return `end job ${id}${job === undefined ? '' : ` (${aboutText(job)})`} ${savepoint ? 'with' : 'without'} a savepoint`;
  });
  const end = await client.jobs.cancel(id, { savepoint });
  print<JobCancelDocument>(options, { end }, () => endText(end));
  const wanted = savepoint ? 'SAVEPOINT_DONE' : 'CANCELED';
  if (end.outcome !== wanted) process.exitCode = 1;
}

/** A job file that is read and understood. */
export async function readJob(file: string) {
  const { JobFileError, readJobFile } = await import('../../model/job-file.js');
  const content = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new UsageError(`${file} cannot be read: ${error.code ?? error.message}`);
  });
  try {
    return readJobFile(content, dirname(resolve(file)));
  } catch (error) {
    if (error instanceof JobFileError) throw new UsageError(`${file}: ${error.message}`);
    throw error;
  }
}

/**
 * How a job ended, once it has. What its tombstone says comes first: the newest run under its id may be a submission that was
 * refused.
 */
async function endOf(client: StewardClient, id: string, timeout: number | undefined): Promise<JobEnd> {
  const standing = endFrom(await found(client, id));
  if (standing !== undefined) return standing;
  const handle = await client.jobs.handle(id);
  try {
    const waited = await waitFor(`job ${id}`, handle, { wait: true, timeout, isKnownToRun: true });
    if (waited.outcome === 'DONE') return waited.result;
    throw new Error(`job ${id} was not waited for`);
  } catch (error) {
    const end = endFrom(await found(client, id));
    if (end !== undefined) return end;
    throw error;
  }
}

function endFrom(job: JobDescription | null): JobEnd | undefined {
  if (job === null || !isJobOver(job.state)) return undefined;
  const { state: outcome, jobId, owner, execution, restarts, rowsIn, rowsOut, reason } = job;
  const why = outcome === 'FAILED' && reason !== undefined ? { reason } : {};
  return { outcome, jobId, owner, execution, restarts, rowsIn, rowsOut, ...why };
}

/** What a job waits for, as its workflow tells it: nothing when that is gone, or Temporal is away. */
async function blockersOf(
  client: StewardClient,
  { jobId, endedAt }: JobDescription,
): Promise<readonly string[]> {
  if (endedAt !== undefined) return [];
  const operation = await client.operations.get(jobWorkflowId(jobId)).catch(() => undefined);
  return operation?.blockers ?? [];
}

/** A job that is purged as soon as it is over has nothing to show. */
async function found(client: StewardClient, id: string): Promise<JobDescription | null> {
  const { StewardError } = await import('../../client/errors.js');
  return client.jobs.get(id).catch((error: unknown) => {
    if (error instanceof StewardError && error.code === 'NOT_FOUND') return null;
    throw error;
  });
}

function jobId(text: string): string {
  if (JOB_ID.test(text)) return text;
  throw new InvalidArgumentError(`Expected ${inWords(JOB_ID)}.`);
}

function waitingTime(): Option {
  return new Option(
    '--timeout <duration>',
    'wait no longer than this, such as 30s; the job goes on',
  ).argParser(duration);
}

export function jobTable(jobs: readonly JobStatus[], nothing: string): string {
  const now = Date.now();
  return listing(
    [
      { title: 'JOB' },
      { title: 'MODE' },
      { title: 'STATE' },
      { title: 'TASK GROUPS ACTIVE', align: 'right' },
      { title: 'ROWS IN', align: 'right' },
      { title: 'ROWS OUT', align: 'right' },
      { title: 'RESTARTS', align: 'right' },
      { title: 'SINCE' },
    ],
    jobs.map((job) => [
      job.jobId,
      job.jobMode,
      stateCell(job),
      `${job.activeTaskGroups} of ${job.taskGroups}`,
      job.rowsIn,
      job.rowsOut,
      job.restarts,
      `${formatDuration(now - Date.parse(job.stateSince))} ago`,
    ]),
    nothing,
  );
}

export function jobText(job: JobDescription, blockers: readonly string[] = []): string {
  return [
    details([
      ['job', job.jobId],
      ['state', stateCell(job)],
      ...blockers.map((blocker) => ['blocked by', blocker] as const),
      ['reason', job.reason],
      ['mode', job.jobMode],
      ['execution', `${job.execution}, restart ${job.restarts} of ${job.retryTimes}`],
      ['rows', `${job.rowsIn} in, ${job.rowsOut} out`],
      ['submitted', `${job.createdAt} by ${job.actor}${job.restored ? ', from a savepoint' : ''}`],
      ['ended', job.endedAt],
      ['id free at', job.freeAt],
      ['savepoint', job.savepointAt],
      ['owner', job.owner],
      ...job.pipelines.map(
        ({ pipeline, state, sinkDirectory }) =>
          [`pipeline ${pipeline}`, `${state}, into ${sinkDirectory}`] as const,
      ),
      ...job.owedCancels.map(
        ({ nodeId, execution, error }) =>
          [
            `owed by ${nodeId}`,
            `cancel of execution ${execution}${error === undefined ? '' : `: ${error}`}`,
          ] as const,
      ),
    ]),
    section('task groups', locationTable(job)),
  ].join('\n');
}

function locationTable({ locations }: JobDescription): string {
  const failed = locations.some(({ error }) => error !== undefined);
  return listing(
    [
      { title: 'PIPELINE', align: 'right' },
      { title: 'TASK GROUP', align: 'right' },
      { title: 'STATE' },
      { title: 'NODE' },
      { title: 'ROWS IN', align: 'right' },
      { title: 'ROWS OUT', align: 'right' },
      { title: 'CHECKPOINT', align: 'right' },
      ...(failed ? [{ title: 'ERROR' }] : []),
    ],
    locations.map((one) => [
      one.pipeline,
      one.taskGroup,
      one.state,
      one.nodeId ?? '',
      one.rowsIn,
      one.rowsOut,
      one.checkpointId ?? '',
      ...(failed ? [one.error ?? ''] : []),
    ]),
    'no task groups',
  );
}

/** `STREAMING, RUNNING for 5m, 2 task groups, 1200 rows out` */
function aboutText({ jobMode, state, stateSince, taskGroups, rowsOut }: JobStatus): string {
  const since = formatDuration(Date.now() - Date.parse(stateSince));
  return `${jobMode}, ${state} for ${since}, ${counted(taskGroups, 'task group')}, ${counted(rowsOut, 'row')} out`;
}

function stateCell({ state }: JobStatus): Cell {
  switch (state) {
    case 'FINISHED':
    case 'SAVEPOINT_DONE':
      return { text: state, paint: colors.green };
    case 'CREATED':
    case 'SCHEDULED':
    case 'RUNNING':
      return { text: state, paint: colors.cyan };
    case 'FAILING':
    case 'CANCELING':
    case 'DOING_SAVEPOINT':
    case 'CANCELED':
      return { text: state, paint: colors.yellow };
    case 'FAILED':
      return { text: state, paint: colors.red };
  }
}

function planText(jobId: string, { env, pipelines }: JobSpec, fromSavepoint: boolean): string {
  return [
    `would run ${env.jobMode} job ${jobId}${fromSavepoint ? ' from its newest savepoint' : ''}:`,
    ...pipelines.flatMap(({ pipeline, taskGroups, transform, sink, parallelism, checkpointIntervalMs }) => [
      `  pipeline ${pipeline}: ${counted(taskGroups.length, 'task group')} of parallelism ${parallelism}, ` +
        `${sink.format} into ${sink.directory}` +
        (checkpointIntervalMs === undefined
          ? ''
          : `, a checkpoint every ${formatDuration(checkpointIntervalMs)}`),
      ...(transform === '' ? [] : [`    ${transform.replaceAll(/\s+/g, ' ')}`]),
      ...taskGroups.map(({ taskGroup, source }) =>
        source.kind === 'files'
          ? `    task group ${taskGroup}: ${source.format} ${source.paths.join(', ')}`
          : `    task group ${taskGroup}: ${source.rows === 0 ? 'rows without end' : `${source.rows} rows`} from ${source.first}, ${source.rowsPerSecond} a second`,
      ),
    ]),
  ].join('\n');
}

function endText({
  outcome,
  jobId,
  rowsIn,
  rowsOut,
  restarts,
  reason,
}: {
  outcome: string;
  jobId: string;
  rowsIn: number;
  rowsOut: number;
  restarts: number;
  reason?: string;
}): string {
  const again = restarts === 0 ? '' : ` after ${counted(restarts, 'restart')}`;
  return `job ${jobId} is ${outcome}${again}: ${rowsIn} rows in, ${rowsOut} rows out${reason === undefined ? '' : `: ${reason}`}`;
}

function startedText(jobId: string): string {
  return `job ${jobId} runs; look at it with: steward job show ${jobId}`;
}
