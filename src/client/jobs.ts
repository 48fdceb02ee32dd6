import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Timestamp, timestampDate } from '@bufbuild/protobuf/wkt';
import type { JobEnd, JobResult } from '../../workflows/jobs/run-job.js';
import type { JobSweepResult } from '../../workflows/jobs/sweep-jobs.js';
import type { Job as JobMessage } from '../rpc/gen/steward/coordinator/v1/jobs_pb.js';
import { JOB_ID } from '../rules/bounds.js';
import { counted } from '../rules/counted.js';
import { text } from '../rules/input.js';
import { jobWorkflowId } from '../rules/job-ids.js';
import { runJobInput } from '../rules/job-input.js';
import type { JobSpec } from '../rules/job-spec.js';
import type { JobState, PipelineState, TaskGroupState } from '../rules/job-states.js';
import type { Coordinator } from './coordinator.js';
import { StewardError } from './errors.js';
import type { Ended, OperationHandle } from './operation-handle.js';
import type { Operations } from './operations.js';
import type { Start, Temporal } from './temporal.js';
import { isLostUpdate, UPDATE_ATTEMPTS, UPDATE_RETRY_MS } from './updates.js';
import { valid } from './validation.js';

export interface JobSubmission {
  /** Names the job; nothing else may run, or have ended a moment ago, under it. */
  readonly jobId: string;
  /** As `readJobFile` answers it; paths are those of the nodes. */
  readonly job: JobSpec;
  /** Starts from the newest savepoint of the id, also over a tombstone. */
  readonly fromSavepoint?: boolean | undefined;
}

/** A job as a list shows it. */
export interface JobStatus {
  readonly jobId: string;
  /** UUID of the submission. */
  readonly owner: string;
  readonly state: JobState;
  /** The job's epoch; every restart draws a new one. */
  readonly execution: number;
  readonly restarts: number;
  readonly retryTimes: number;
  readonly jobMode: 'BATCH' | 'STREAMING';
  readonly actor: string;
  /** Why it is FAILING or FAILED, or was started again. */
  readonly reason?: string;
  /** It started from a savepoint. */
  readonly restored: boolean;
  readonly createdAt: string;
  readonly stateSince: string;
  readonly endedAt?: string;
  /** From then on the id may be used again. */
  readonly freeAt?: string;
  readonly taskGroups: number;
  readonly activeTaskGroups: number;
  readonly rowsIn: number;
  readonly rowsOut: number;
}

/** A job in full. */
export interface JobDescription extends JobStatus {
  readonly pipelines: readonly {
    readonly pipeline: number;
    readonly state: PipelineState;
    readonly sinkDirectory: string;
  }[];
  readonly locations: readonly {
    readonly pipeline: number;
    readonly taskGroup: number;
    readonly state: TaskGroupState;
    readonly nodeId?: string;
    readonly rowsIn: number;
    readonly rowsOut: number;
    /** Last committed one. */
    readonly checkpointId?: number;
    readonly error?: string;
  }[];
  readonly times: readonly { readonly state: JobState; readonly execution: number; readonly at: string }[];
  /** When the newest savepoint of the id was made. */
  readonly savepointAt?: string;
  /** Cancels that nodes have not confirmed yet. */
  readonly owedCancels: readonly {
    readonly nodeId: string;
    readonly execution: number;
    readonly error?: string;
  }[];
}

const CLAIM_LOOK_MS = 25;
/** A worker that is away for longer takes the job up later: it is started all the same. */
const CLAIM_WAIT_MS = 10_000;

/** `client.jobs` */
export class Jobs {
  constructor(
    private readonly coordinator: Coordinator,
    private readonly temporal: () => Promise<Temporal>,
    private readonly operations: Operations,
    private readonly actor: string,
  ) {}

  /**
   * Starts a job, and answers when it has claimed its id. It ends FINISHED, or as it was asked to.
   *
   * @throws StewardError INVALID_INPUT; HELD when a job runs under the id; REJECTED `JOB_TOMBSTONE`, with the time at which the
   * id is free, or `SAVEPOINT_MISMATCH`; NOT_FOUND when there is no savepoint to start from; UNAVAILABLE
   */
  async submit(submission: JobSubmission): Promise<OperationHandle<Ended<JobResult>>> {
    const { jobId, job, fromSavepoint = false } = submission;
    const input = valid(() => runJobInput({ jobId, job, fromSavepoint, actor: this.actor }));
    const taskGroups = input.job.pipelines.reduce((sum, one) => sum + one.taskGroups.length, 0);
    const handle = await this.#start<Ended<JobResult>>({
      workflowType: 'runJob',
      workflowId: jobWorkflowId(jobId),
      input,
      summary: `${input.job.env.jobMode} job ${jobId} of ${counted(taskGroups, 'task group')}`,
      details: `Runs job ${jobId}${fromSavepoint ? ' from its savepoint' : ''}. Submitted by ${this.actor}.`,
      resource: jobWorkflowId(jobId),
    });
    const deadline = performance.now() + CLAIM_WAIT_MS;
    while (performance.now() < deadline) {
      const { phase, closedAt } = await handle.describe();
      if (closedAt !== undefined) {
        // Refused, or over as quickly as that: its result says which. A job that failed was claimed all the same.
        await handle.result().catch((error: unknown) => {
          if (!(error instanceof StewardError) || !isJobEnd(error.details)) throw error;
        });
        return handle;
      }
      if (phase !== undefined) return handle;
      await sleep(CLAIM_LOOK_MS);
    }
    return handle;
  }

  /** The newest first; of an id the newest submission. `running`: without those that are over. */
  async list({
    running = false,
    limit = 1_000,
  }: {
    readonly running?: boolean;
    readonly limit?: number;
  } = {}): Promise<JobStatus[]> {
    const { jobs } = await this.coordinator.askJobs((service) => service.listJobs({ running, limit }));
    return jobs.map(statusFrom);
  }

  /** @throws StewardError INVALID_INPUT; NOT_FOUND when it was never submitted, or is purged; UNAVAILABLE */
  async get(jobId: string): Promise<JobDescription> {
    const id = validJobId(jobId);
    const answer = await this.coordinator.askJobs((service) => service.getJob({ jobId: id }));
    return {
      ...statusFrom(answer.job!),
      pipelines: answer.pipelines.map(({ pipeline, state, sinkDirectory }) => ({
        pipeline,
        state: state as PipelineState,
        sinkDirectory,
      })),
      locations: answer.taskGroups.map(
        ({ pipeline, taskGroup, state, nodeId, rowsIn, rowsOut, checkpointId, error }) => ({
          pipeline,
          taskGroup,
          state: state as TaskGroupState,
          ...(nodeId !== '' && { nodeId }),
          rowsIn: Number(rowsIn),
          rowsOut: Number(rowsOut),
          ...(checkpointId !== 0n && { checkpointId: Number(checkpointId) }),
          ...(error !== '' && { error }),
        }),
      ),
      times: answer.times.map(({ state, execution, at }) => ({
        state: state as JobState,
        execution: Number(execution),
        at: iso(at)!,
      })),
      ...(answer.savepointAt && { savepointAt: iso(answer.savepointAt)! }),
      owedCancels: answer.owedCancels.map(({ nodeId, execution, error }) => ({
        nodeId,
        execution: Number(execution),
        ...(error !== '' && { error }),
      })),
    };
  }

  /** A job that runs or ran, to wait for. */
  async handle(jobId: string): Promise<OperationHandle<Ended<JobResult>>> {
    const id = jobWorkflowId(validJobId(jobId));
    return this.operations.handle<Ended<JobResult>>(id).catch((error: unknown) => {
      if (!(error instanceof StewardError) || error.code !== 'NOT_FOUND') throw error;
      throw new StewardError('NOT_FOUND', `job ${jobId} does not exist (never submitted, or purged)`, {
        cause: error,
      });
    });
  }

  /**
   * Asks a job to end, with a savepoint when that is wanted, and answers how it ended: it may have finished or failed before
   * it heard.
   *
   * @throws StewardError INVALID_INPUT; NOT_FOUND when nothing runs under that id; REJECTED when it is over; UNAVAILABLE
   */
  async cancel(jobId: string, { savepoint = false }: { readonly savepoint?: boolean } = {}): Promise<JobEnd> {
    const id = jobWorkflowId(validJobId(jobId));
    const temporal = await this.temporal();
    const updateId = randomUUID();
    for (let attempt = 1; ; attempt += 1) {
      try {
        const workflow = temporal.client.workflow.getHandle(id);
        const end = await temporal.ask(() =>
          workflow.executeUpdate<JobEnd, [{ savepoint: boolean }]>('cancelJob', {
            args: [{ savepoint }],
            updateId,
          }),
        );
        // It answers just before it closes: from here on the id is the tombstone's alone.
        await workflow.result().catch(() => {});
        return end;
      } catch (error) {
        if (attempt < UPDATE_ATTEMPTS && isLostUpdate(error)) {
          await sleep(UPDATE_RETRY_MS);
          continue;
        }
        throw await this.#explain(jobId, error);
      }
    }
  }

  /**
   * Starts a sweep: jobs whose workflow is gone and tombstones without a purge are driven on, and nodes that came back are told
   * what they are to end.
   */
  async sweep(): Promise<OperationHandle<JobSweepResult>> {
    return this.#start<JobSweepResult>({
      workflowType: 'sweepJobs',
      workflowId: `sweep-jobs/${randomUUID().slice(0, 8)}`,
      input: { actor: this.actor },
      summary: 'sweep jobs',
      details: `Drives on what of jobs nobody looks after. Asked by ${this.actor}.`,
      resource: 'jobs',
    });
  }

  /** Why a cancel found no workflow: the job is over, or its workflow is gone. */
  async #explain(jobId: string, error: unknown): Promise<unknown> {
    if (!(error instanceof StewardError) || error.code !== 'NOT_FOUND') return error;
    const job = await this.get(jobId).catch(() => undefined);
    if (job === undefined)
      return new StewardError('NOT_FOUND', `job ${jobId} does not exist`, { cause: error });
    if (job.endedAt !== undefined) {
      const message = `job ${jobId} is ${job.state} since ${job.endedAt}: it is over`;
      return new StewardError('REJECTED', message, { details: 'NOT_CANCELLABLE', cause: error });
    }
    return new StewardError(
      'NOT_FOUND',
      `job ${jobId} is ${job.state}, but its workflow is gone: drive it on with: steward sweep run`,
      { cause: error },
    );
  }

  async #start<T>(start: Start): Promise<OperationHandle<T>> {
    const temporal = await this.temporal();
    const { runId, attached } = await temporal.start(start);
    return this.operations.handleOf<T>(temporal, start.workflowId, runId, attached);
  }
}

function isJobEnd(details: unknown): boolean {
  return typeof details === 'object' && details !== null && 'outcome' in details;
}

function validJobId(jobId: string): string {
  return valid(() => text({ jobId }, 'jobId', JOB_ID));
}

function statusFrom(job: JobMessage): JobStatus {
  const endedAt = iso(job.endedAt);
  const freeAt = iso(job.freeAt);
  return {
    jobId: job.jobId,
    owner: job.owner,
    state: job.state as JobState,
    execution: Number(job.execution),
    restarts: job.restarts,
    retryTimes: job.retryTimes,
    jobMode: job.jobMode as JobStatus['jobMode'],
    actor: job.actor,
    ...(job.reason !== '' && { reason: job.reason }),
    restored: job.restored,
    createdAt: iso(job.createdAt)!,
    stateSince: iso(job.stateSince)!,
    ...(endedAt !== undefined && { endedAt }),
    ...(freeAt !== undefined && { freeAt }),
    taskGroups: job.taskGroups,
    activeTaskGroups: job.activeTaskGroups,
    rowsIn: Number(job.rowsIn),
    rowsOut: Number(job.rowsOut),
  };
}

function iso(timestamp: Timestamp | undefined): string | undefined {
  return timestamp && timestampDate(timestamp).toISOString();
}
