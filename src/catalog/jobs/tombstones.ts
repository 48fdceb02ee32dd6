import { sql } from 'kysely';
import type { JobSpec } from '../../rules/job-spec.js';
import { isJobOver } from '../../rules/job-states.js';
import type { Catalog } from '../catalog.js';
import { type JobKey, lockJob } from './rows.js';

/** How many rows of each kind a purge has taken. */
export interface Purged {
  readonly kind: 'PURGED';
  readonly taskGroups: number;
  readonly checkpoints: number;
}

const TABLES = ['checkpoint', 'task_group', 'pipeline', 'job_state_time', 'job'] as const;

/**
 * Deletes everything that the catalog has of a job of this owner, and of no other (I7); savepoints stay. GONE: it was deleted
 * before. RUNNING: it is not over, and nothing is touched.
 */
export async function purgeJob(
  catalog: Catalog,
  key: JobKey,
): Promise<Purged | { readonly kind: 'GONE' } | { readonly kind: 'RUNNING'; readonly state: string }> {
  return catalog.transaction().execute(async (transaction) => {
    const job = await lockJob(transaction, key);
    if (job === undefined) return { kind: 'GONE' };
    if (!isJobOver(job.state)) return { kind: 'RUNNING', state: job.state };
    const deleted = new Map<string, number>();
    for (const table of TABLES) {
      const { numDeletedRows } = await transaction
        .deleteFrom(table)
        .where('job_id', '=', key.jobId)
        .where('owner', '=', key.owner)
        .executeTakeFirst();
      deleted.set(table, Number(numDeletedRows));
    }
    return {
      kind: 'PURGED',
      taskGroups: deleted.get('task_group')!,
      checkpoints: deleted.get('checkpoint')!,
    };
  });
}

/** Tombstones that should have gone by now, longest overdue first. */
export async function overdueTombstones(catalog: Catalog, graceMs: number, limit: number): Promise<JobKey[]> {
  const rows = await catalog
    .selectFrom('job')
    .select(['job_id', 'owner'])
    .where('ended_at', 'is not', null)
    .where('free_at', '<', sql<Date>`now() - make_interval(secs => ${graceMs / 1000})`)
    .orderBy('free_at')
    .limit(limit)
    .execute();
  return rows.map(({ job_id, owner }) => ({ jobId: job_id, owner }));
}

/** A job that is not over. */
export interface StandingJob extends JobKey {
  readonly actor: string;
  readonly job: JobSpec;
}

export async function standingJobs(catalog: Catalog, olderThanMs: number): Promise<StandingJob[]> {
  const rows = await catalog
    .selectFrom('job')
    .select(['job_id', 'owner', 'actor', 'spec'])
    .where('ended_at', 'is', null)
    .where('created_at', '<', sql<Date>`now() - make_interval(secs => ${olderThanMs / 1000})`)
    .orderBy('created_at')
    .execute();
  return rows.map(({ job_id, owner, actor, spec }) => ({ jobId: job_id, owner, actor, job: spec }));
}

/** Whether these rows are still there and not over. */
export async function isStanding(catalog: Catalog, { jobId, owner }: JobKey): Promise<boolean> {
  const row = await catalog
    .selectFrom('job')
    .select('state')
    .where('job_id', '=', jobId)
    .where('owner', '=', owner)
    .where('ended_at', 'is', null)
    .executeTakeFirst();
  return row !== undefined;
}
