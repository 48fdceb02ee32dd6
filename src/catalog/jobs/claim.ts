import { sql } from 'kysely';
import type { Logger } from '../../log.js';
import type { RunJobInput } from '../../rules/job-input.js';
import type { JobSpec } from '../../rules/job-spec.js';
import type { Holder } from '../../rules/words.js';
import { type Catalog, type CatalogTransaction, nextEpoch } from '../catalog.js';
import { type JobKey, type JobRow, type JobStanding, lockJob, noteState, standingOf } from './rows.js';
import { findSavepoint, restoreSavepoint, type SavepointRow } from './savepoints.js';

export interface JobGranted extends JobStanding {
  readonly kind: 'GRANTED';
  readonly taskGroups: number;
}

/** Another owner's job runs under the id (I5). */
export interface JobIdInUse {
  readonly kind: 'REFUSED';
  readonly holder: Holder;
  readonly resource: string;
}

export interface JobRejected {
  readonly kind: 'REJECTED';
  readonly code: 'JOB_TOMBSTONE' | 'SAVEPOINT_NOT_FOUND' | 'SAVEPOINT_MISMATCH' | 'JOB_PURGED';
  readonly message: string;
}

/**
 * Claims a job id for an owner and writes all rows of the job, in one transaction. An owner that has its rows already goes
 * on with them. A tombstone refuses everybody until it is free, unless the job starts from a savepoint.
 */
export async function claimJob(
  catalog: Catalog,
  input: RunJobInput & { readonly owner: string },
  options: { /** Its rows must be there: it goes on. */ readonly resume: boolean },
  log: Logger,
): Promise<JobGranted | JobIdInUse | JobRejected> {
  const key: JobKey = { jobId: input.jobId, owner: input.owner };
  return catalog.transaction().execute(async (transaction) => {
    await sql`SELECT pg_advisory_xact_lock(hashtextextended(${`job/${input.jobId}`}, 0))`.execute(
      transaction,
    );
    const own = await lockJob(transaction, key);
    if (own !== undefined) return granted(transaction, own);
    if (options.resume) {
      return rejected(
        'JOB_PURGED',
        `job ${input.jobId} of owner ${input.owner} is purged: there is nothing to go on with`,
      );
    }
    const others = await transaction
      .selectFrom('job')
      .selectAll()
      .where('job_id', '=', input.jobId)
      .orderBy('created_at', 'desc')
      .execute();
    const running = others.find(({ ended_at }) => ended_at === null);
    if (running !== undefined) return inUse(running);
    const tombstone = await standingTombstone(transaction, input.jobId);
    if (tombstone !== undefined && !input.fromSavepoint) return tombstone;
    const savepoint = input.fromSavepoint ? await findSavepoint(transaction, input.jobId) : undefined;
    if (input.fromSavepoint) {
      if (savepoint === undefined) {
        return rejected('SAVEPOINT_NOT_FOUND', `job ${input.jobId} has no savepoint to start from`);
      }
      const mismatch = mismatchOf(savepoint, input.job);
      if (mismatch !== undefined) return rejected('SAVEPOINT_MISMATCH', mismatch);
    }
    const job = await insertJob(transaction, input, savepoint?.owner ?? null);
    if (savepoint !== undefined) await restoreSavepoint(transaction, key, savepoint);
    log.info(
      { job: job.job_id, owner: job.owner, execution: job.execution, actor: job.actor },
      'job claimed',
    );
    return granted(transaction, job);
  });
}

async function standingTombstone(
  transaction: CatalogTransaction,
  jobId: string,
): Promise<JobRejected | undefined> {
  const tombstone = await transaction
    .selectFrom('job')
    .select(['state', 'ended_at', 'free_at'])
    .where('job_id', '=', jobId)
    .where('free_at', '>', sql<Date>`now()`)
    .orderBy('free_at', 'desc')
    .limit(1)
    .executeTakeFirst();
  if (tombstone === undefined) return undefined;
  return rejected(
    'JOB_TOMBSTONE',
    `job ${jobId} is ${tombstone.state} since ${tombstone.ended_at!.toISOString()}, and its id is free at ` +
      `${tombstone.free_at!.toISOString()}`,
  );
}

async function insertJob(
  transaction: CatalogTransaction,
  { jobId, owner, job, actor }: RunJobInput & { readonly owner: string },
  restoredFrom: string | null,
): Promise<JobRow> {
  const key = { job_id: jobId, owner };
  const row = await transaction
    .insertInto('job')
    .values({
      ...key,
      state: 'CREATED',
      execution: await nextEpoch(transaction),
      spec: JSON.stringify(job),
      restored_from: restoredFrom,
      actor,
    })
    .returningAll()
    .executeTakeFirstOrThrow();
  await noteState(transaction, row);
  await transaction
    .insertInto('pipeline')
    .values(job.pipelines.map(({ pipeline }) => ({ ...key, pipeline, state: 'CREATED' as const })))
    .execute();
  await transaction
    .insertInto('task_group')
    .values(
      job.pipelines.flatMap(({ pipeline, taskGroups }) =>
        taskGroups.map(({ taskGroup }) => ({
          ...key,
          pipeline,
          task_group: taskGroup,
          state: 'CREATED' as const,
        })),
      ),
    )
    .execute();
  return row;
}

/** A savepoint fits a job that has the same task groups. */
function mismatchOf({ job_id, locations }: SavepointRow, job: JobSpec): string | undefined {
  const name = (one: { pipeline: number; taskGroup: number }) => `${one.pipeline}/${one.taskGroup}`;
  const had = locations.map(name).sort().join(' ');
  const has = job.pipelines
    .flatMap(({ pipeline, taskGroups }) => taskGroups.map(({ taskGroup }) => name({ pipeline, taskGroup })))
    .sort()
    .join(' ');
  if (had === has) return undefined;
  return `the savepoint of job ${job_id} is of the task groups ${had}, and this job has ${has}: submit it as it was`;
}

async function granted(transaction: CatalogTransaction, job: JobRow): Promise<JobGranted> {
  const taskGroups = job.spec.pipelines.reduce((sum, one) => sum + one.taskGroups.length, 0);
  return { kind: 'GRANTED', ...(await standingOf(transaction, job)), taskGroups };
}

function inUse({ job_id, owner, actor, created_at }: JobRow): JobIdInUse {
  return {
    kind: 'REFUSED',
    resource: `job ${job_id}`,
    holder: {
      workflowId: `job/${job_id}`,
      firstRunId: owner,
      workflowType: 'runJob',
      actor,
      since: created_at.toISOString(),
    },
  };
}

function rejected(code: JobRejected['code'], message: string): JobRejected {
  return { kind: 'REJECTED', code, message };
}
