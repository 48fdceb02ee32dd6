import { sql } from 'kysely';
import type { JobSpec } from '../../rules/job-spec.js';
import type { JobState, PipelineState, TaskGroupState } from '../../rules/job-states.js';
import type { Catalog } from '../catalog.js';
import { lastCheckpoints } from './checkpoints.js';
import { findSavepoint } from './savepoints.js';

export interface JobSummary {
  readonly jobId: string;
  readonly owner: string;
  readonly state: JobState;
  readonly execution: number;
  readonly restarts: number;
  readonly actor: string;
  readonly spec: JobSpec;
  readonly reason: string | null;
  readonly restoredFrom: string | null;
  readonly createdAt: Date;
  readonly stateSince: Date;
  readonly endedAt: Date | null;
  /** When the tombstone may go. */
  readonly freeAt: Date | null;
  readonly taskGroups: number;
  readonly activeTaskGroups: number;
  readonly rowsIn: number;
  readonly rowsOut: number;
}

export interface JobDetails extends JobSummary {
  readonly pipelines: readonly { readonly pipeline: number; readonly state: PipelineState }[];
  readonly locations: readonly JobLocation[];
  readonly times: readonly { readonly state: JobState; readonly execution: number; readonly at: Date }[];
  /** When the newest savepoint of the job id was made. */
  readonly savepointAt?: Date;
  /** Cancels that nodes have not confirmed yet. */
  readonly owedCancels: readonly {
    readonly nodeId: string;
    readonly execution: number;
    readonly error: string | null;
  }[];
}

export interface JobLocation {
  readonly pipeline: number;
  readonly taskGroup: number;
  readonly state: TaskGroupState;
  readonly nodeId: string | null;
  readonly rowsIn: number;
  readonly rowsOut: number;
  readonly checkpointId: number;
  readonly error: string | null;
}

const COLUMNS = sql<JobSummary>`
  j.job_id AS "jobId", j.owner, j.state, j.execution, j.restarts, j.actor, j.spec, j.reason, j.restored_from AS "restoredFrom",
  j.created_at AS "createdAt", j.state_since AS "stateSince", j.ended_at AS "endedAt", j.free_at AS "freeAt",
  t.task_groups AS "taskGroups", t.active AS "activeTaskGroups", t.rows_in AS "rowsIn", t.rows_out AS "rowsOut"
`;
const TOTALS = sql`
  CROSS JOIN LATERAL (
    SELECT count(*) AS task_groups, count(*) FILTER (WHERE state IN ('DEPLOYING', 'RUNNING', 'CANCELING')) AS active,
      coalesce(sum(rows_in), 0)::bigint AS rows_in, coalesce(sum(rows_out), 0)::bigint AS rows_out
    FROM task_group g WHERE g.job_id = j.job_id AND g.owner = j.owner
  ) t
`;

/** Jobs, the newest first; of an id that has several owners the newest alone. `running`: without tombstones. */
export async function listJobs(
  catalog: Catalog,
  { running, limit }: { readonly running: boolean; readonly limit: number },
): Promise<JobSummary[]> {
  const { rows } = await sql<JobSummary>`
    SELECT ${COLUMNS} FROM job j ${TOTALS}
    WHERE NOT EXISTS (SELECT FROM job n WHERE n.job_id = j.job_id AND n.created_at > j.created_at)
      ${running ? sql`AND j.ended_at IS NULL` : sql``}
    ORDER BY j.created_at DESC, j.job_id LIMIT ${limit}
  `.execute(catalog);
  return rows;
}

/** A job in full: of its newest owner. */
export async function findJob(catalog: Catalog, jobId: string): Promise<JobDetails | undefined> {
  const { rows } = await sql<JobSummary>`
    SELECT ${COLUMNS} FROM job j ${TOTALS}
    WHERE j.job_id = ${jobId} ORDER BY j.created_at DESC LIMIT 1
  `.execute(catalog);
  const [job] = rows;
  if (job === undefined) return undefined;
  const [pipelines, locations, times, checkpoints, savepoint, owed] = await Promise.all([
    catalog
      .selectFrom('pipeline')
      .select(['pipeline', 'state'])
      .where('job_id', '=', jobId)
      .where('owner', '=', job.owner)
      .orderBy('pipeline')
      .execute(),
    catalog
      .selectFrom('task_group')
      .selectAll()
      .where('job_id', '=', jobId)
      .where('owner', '=', job.owner)
      .orderBy('pipeline')
      .orderBy('task_group')
      .execute(),
    catalog
      .selectFrom('job_state_time')
      .select(['state', 'execution', 'at'])
      .where('job_id', '=', jobId)
      .where('owner', '=', job.owner)
      .orderBy('step')
      .execute(),
    lastCheckpoints(catalog, { jobId, owner: job.owner }),
    findSavepoint(catalog, jobId),
    catalog
      .selectFrom('owed_cancel')
      .select(['node_id as nodeId', 'execution', 'last_error as error'])
      .where('job_id', '=', jobId)
      .orderBy('since')
      .execute(),
  ]);
  return {
    ...job,
    pipelines,
    times,
    owedCancels: owed,
    ...(savepoint && { savepointAt: savepoint.created_at }),
    locations: locations.map((row) => ({
      pipeline: row.pipeline,
      taskGroup: row.task_group,
      state: row.state,
      nodeId: row.node_id,
      rowsIn: row.rows_in,
      rowsOut: row.rows_out,
      checkpointId:
        checkpoints.find((one) => one.pipeline === row.pipeline && one.task_group === row.task_group)
          ?.checkpoint_id ?? 0,
      error: row.error,
    })),
  };
}
