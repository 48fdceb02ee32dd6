import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError, type ServiceImpl } from '@connectrpc/connect';
import { z } from 'zod';
import type { Catalog } from '../catalog/catalog.js';
import { findJob, type JobSummary, listJobs } from '../catalog/jobs/inspection.js';
import { findSavepoint } from '../catalog/jobs/savepoints.js';
import type { JobSchema, JobService } from '../rpc/gen/steward/coordinator/v1/jobs_pb.js';
import { JOB_ID } from '../rules/bounds.js';
import { validated } from './validation.js';

const PAGE = 1_000;
const listing = z.object({ running: z.boolean(), limit: z.int().min(0).max(PAGE) });
const question = z.object({ jobId: z.string().regex(JOB_ID, `a job id matches ${JOB_ID.source}`) });

/** Shows operators the jobs of the catalog. */
export function jobService(catalog: Catalog): ServiceImpl<typeof JobService> {
  return {
    async listJobs(request) {
      const { running, limit } = validated(listing, request);
      const jobs = await listJobs(catalog, { running, limit: limit === 0 ? PAGE : limit });
      return { jobs: jobs.map(jobMessage) };
    },

    async getJob(request) {
      const { jobId } = validated(question, request);
      const job = await findJob(catalog, jobId);
      if (job === undefined) {
        throw new ConnectError(
          `job ${jobId} does not exist (${await whyGone(catalog, jobId)})`,
          Code.NotFound,
        );
      }
      const sinks = new Map(job.spec.pipelines.map(({ pipeline, sink }) => [pipeline, sink.directory]));
      return {
        job: jobMessage(job),
        pipelines: job.pipelines.map((one) => ({ ...one, sinkDirectory: sinks.get(one.pipeline) ?? '' })),
        taskGroups: job.locations.map((one) => ({
          ...one,
          nodeId: one.nodeId ?? '',
          rowsIn: BigInt(one.rowsIn),
          rowsOut: BigInt(one.rowsOut),
          checkpointId: BigInt(one.checkpointId),
          error: one.error ?? '',
        })),
        times: job.times.map(({ state, execution, at }) => ({
          state,
          execution: BigInt(execution),
          at: timestampFromDate(at),
        })),
        owedCancels: job.owedCancels.map(({ nodeId, execution, error }) => ({
          nodeId,
          execution: BigInt(execution),
          error: error ?? '',
        })),
        ...(job.savepointAt && { savepointAt: timestampFromDate(job.savepointAt) }),
      };
    },
  };
}

async function whyGone(catalog: Catalog, jobId: string): Promise<string> {
  const savepoint = await findSavepoint(catalog, jobId);
  if (savepoint === undefined) return 'never submitted, or purged';
  return `purged; its savepoint of ${savepoint.created_at.toISOString()} stays, for: steward job submit <file> --from-savepoint`;
}

function jobMessage(job: JobSummary): MessageInitShape<typeof JobSchema> {
  const { env } = job.spec;
  return {
    jobId: job.jobId,
    owner: job.owner,
    state: job.state,
    execution: BigInt(job.execution),
    restarts: job.restarts,
    retryTimes: env.retryTimes,
    jobMode: env.jobMode,
    actor: job.actor,
    reason: job.reason ?? '',
    restored: job.restoredFrom !== null,
    createdAt: timestampFromDate(job.createdAt),
    stateSince: timestampFromDate(job.stateSince),
    ...(job.endedAt && { endedAt: timestampFromDate(job.endedAt) }),
    ...(job.freeAt && { freeAt: timestampFromDate(job.freeAt) }),
    taskGroups: job.taskGroups,
    activeTaskGroups: job.activeTaskGroups,
    rowsIn: BigInt(job.rowsIn),
    rowsOut: BigInt(job.rowsOut),
  };
}
