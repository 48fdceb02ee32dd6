import {
  ApplicationFailure,
  allHandlersFinished,
  CancellationScope,
  CancelledFailure,
  condition,
  continueAsNew,
  defineSignal,
  defineUpdate,
  log,
  patched,
  proxyActivities,
  setCurrentDetails,
  setHandler,
  sleep,
  upsertSearchAttributes,
  uuid4,
  workflowInfo,
} from '@temporalio/workflow';
import type { JobActivities } from '../../activities/jobs/jobs.js';
import type { JobKey, JobStanding } from '../../src/catalog/jobs/rows.js';
import { FAILURE } from '../../src/rules/failure-types.js';
import { InvalidInput } from '../../src/rules/input.js';
import { jobWorkflowId, purgeWorkflowId } from '../../src/rules/job-ids.js';
import { type PurgeJobStateInput, type RunJobInput, runJobInput } from '../../src/rules/job-input.js';
import { isJobOver } from '../../src/rules/job-states.js';
import { retryDelayMs } from '../../src/rules/pace.js';
import { RECONCILE } from '../activity-options.js';
import { startDetached } from '../detached.js';
import { grantedOrFail, guarded } from '../failures.js';
import { cancelOperation } from '../regions/cancellation.js';
import { stewardActor, stewardPhase, stewardResource } from '../search-attributes.js';
import { proxySteps } from '../steps.js';
import { StopRequest, unless } from './stop-request.js';

const { claimJob, judgeJob, stopJob } =
  proxySteps<Pick<JobActivities, 'claimJob' | 'judgeJob' | 'stopJob'>>();
const { scheduleJob, deployJob, superviseJob, endJob } =
  proxyActivities<Pick<JobActivities, 'scheduleJob' | 'deployJob' | 'superviseJob' | 'endJob'>>(RECONCILE);

/** A node reported that a task group ended, and the job cannot go on as it is. */
export interface TaskGroupEnded {
  readonly owner: string;
  readonly execution: number;
  readonly pipeline: number;
  readonly taskGroup: number;
  readonly state: string;
}

export const taskGroupEnded = defineSignal<[TaskGroupEnded]>('taskGroupEnded');

/** Asks a job to end, with a savepoint or without; answers when it is over, in whatever state. */
export const cancelJob = defineUpdate<JobEnd, [{ readonly savepoint: boolean }]>('cancelJob');

export interface JobEnd {
  readonly outcome: 'FINISHED' | 'FAILED' | 'CANCELED' | 'SAVEPOINT_DONE';
  readonly jobId: string;
  readonly owner: string;
  readonly execution: number;
  readonly restarts: number;
  readonly rowsIn: number;
  readonly rowsOut: number;
  readonly reason?: string;
}

/** How a job ends that did not fail. */
export type JobResult = JobEnd & { readonly outcome: 'FINISHED' | 'CANCELED' | 'SAVEPOINT_DONE' };

/**
 * Runs a job to its end: claims the id, and then takes the job from state to state, each step by an activity that finds in the
 * catalog where the job stands. A job whose workflow was gone goes on from there, with its owner and execution.
 */
export async function runJob(raw: RunJobInput): Promise<JobResult> {
  const input = guarded((value) => {
    const checked = runJobInput(value);
    const wanted = jobWorkflowId(checked.jobId);
    if (workflowInfo().workflowId === wanted) return checked;
    throw new InvalidInput('jobId', `job ${checked.jobId} runs under the workflow id ${wanted} and no other`);
  }, raw);
  const run = new JobRun(input);
  // Once it is claimed a job is only ended by way of its task groups: a cancellation is a request to do so.
  CancellationScope.current().cancelRequested.catch(() => run.stop.ask('CANCEL'));
  const end = await CancellationScope.nonCancellable(() => run.toItsEnd());
  if (end.outcome === 'FAILED') {
    throw ApplicationFailure.nonRetryable(end.reason ?? 'the job failed', FAILURE.JOB_FAILED, end);
  }
  if (end.outcome === 'CANCELED' && CancellationScope.current().consideredCancelled) {
    throw new CancelledFailure('cancelled');
  }
  return { ...end, outcome: end.outcome };
}

class JobRun {
  readonly stop = new StopRequest();
  readonly #key: JobKey;
  #standing: JobStanding | undefined;
  /** Something was reported about the present execution since it was last judged. */
  #news = false;
  /** The state that was shown last. */
  #shown: JobStanding['state'] | undefined;
  /** It is over, and its purge is on its way. */
  #closed = false;

  constructor(private readonly input: RunJobInput) {
    this.#key = { jobId: input.jobId, owner: input.owner ?? uuid4() };
    setHandler(taskGroupEnded, (news) => this.#hear(news));
    setHandler(
      cancelJob,
      async ({ savepoint }) => {
        this.stop.ask(savepoint ? 'SAVEPOINT' : 'CANCEL');
        await condition(() => this.#closed);
        return this.#end();
      },
      { validator: (_stop: { readonly savepoint: boolean }) => this.#refuseOver() },
    );
    setHandler(
      cancelOperation,
      async () => {
        this.stop.ask('CANCEL');
        await condition(() => this.#closed);
        if (this.#standing?.state !== 'CANCELED') this.#refuseOver();
      },
      { validator: () => this.#refuseOver() },
    );
  }

  async toItsEnd(): Promise<JobEnd> {
    const { input } = this;
    const resume = input.owner !== undefined;
    this.#standing = grantedOrFail(await claimJob({ ...input, owner: this.#key.owner }, resume));
    upsertSearchAttributes([
      { key: stewardResource, value: jobWorkflowId(input.jobId) },
      { key: stewardActor, value: input.actor },
    ]);
    while (!this.#isOver) {
      this.#show();
      this.#standing = await this.#step(this.#standing);
    }
    this.#show();
    await this.#startPurge();
    this.#closed = true;
    await condition(allHandlersFinished);
    return this.#end();
  }

  /** Takes the job to its next state. */
  async #step(at: JobStanding): Promise<JobStanding> {
    const { wanted } = this.stop;
    if (wanted === 'CANCEL' && at.state !== 'CANCELING') return stopJob(this.#key, 'CANCELING');
    switch (at.state) {
      case 'CREATED':
        if (wanted === 'SAVEPOINT') return stopJob(this.#key, 'DOING_SAVEPOINT');
        return this.#unlessStopped(at, () => this.#schedule(at));
      case 'SCHEDULED':
        if (wanted === 'SAVEPOINT') return stopJob(this.#key, 'DOING_SAVEPOINT');
        return this.#unlessStopped(at, () =>
          deployJob.executeWithOptions({ summary: `deploy execution ${at.execution}` }, [
            this.#key,
            at.execution,
          ]),
        );
      case 'RUNNING':
        if (wanted === 'SAVEPOINT') return stopJob(this.#key, 'DOING_SAVEPOINT');
        return this.#unlessStopped(at, () => this.#supervise(at));
      case 'FAILING':
      case 'DOING_SAVEPOINT':
        return this.#unlessStopped(at, () => this.#endTaskGroups(at));
      case 'CANCELING':
        return this.#endTaskGroups(at);
      case 'FINISHED':
      case 'FAILED':
      case 'CANCELED':
      case 'SAVEPOINT_DONE':
        return at;
    }
  }

  /** A new execution waits a little longer each time, so that a job which fails at once does not do so all the time. */
  async #schedule(at: JobStanding): Promise<JobStanding> {
    if (at.restarts > 0) {
      if (workflowInfo().continueAsNewSuggested) {
        await continueAsNew<typeof runJob>({ ...this.input, owner: this.#key.owner });
      }
      const summary = `execution ${at.execution} is restart ${at.restarts}: ${at.reason ?? ''}`.slice(0, 200);
      await sleep(retryDelayMs(at.restarts), { summary });
    }
    return scheduleJob.executeWithOptions({ summary: `find nodes for execution ${at.execution}` }, [
      this.#key,
    ]);
  }

  /** Supervised by one activity, which is left as soon as a node reports what decides. */
  async #supervise(at: JobStanding): Promise<JobStanding> {
    if (!this.#news) {
      const summary = `supervise execution ${at.execution}`;
      const found = await unless(
        () => this.#news,
        () => superviseJob.executeWithOptions({ summary }, [this.#key, at.execution]),
      );
      if (found !== undefined) return found;
    }
    this.#news = false;
    return judgeJob(this.#key, at.execution);
  }

  #endTaskGroups(at: JobStanding): Promise<JobStanding> {
    return endJob.executeWithOptions({ summary: `end the task groups of execution ${at.execution}` }, [
      this.#key,
    ]);
  }

  async #unlessStopped(at: JobStanding, work: () => Promise<JobStanding>): Promise<JobStanding> {
    return (await this.stop.interruptible(work)) ?? at;
  }

  /** Of another owner or execution: late, and dropped (I6). */
  #hear({ owner, execution, pipeline, taskGroup, state }: TaskGroupEnded): void {
    if (owner === this.#key.owner && execution === this.#standing?.execution) {
      this.#news = true;
      return;
    }
    log.warn('late news of a task group dropped', { owner, execution, pipeline, taskGroup, state });
  }

  /** The tombstone's purge lives on by itself. */
  async #startPurge(): Promise<void> {
    const purge: PurgeJobStateInput = {
      ...this.#key,
      delayMs: this.input.job.env.stateCleanupDelayMs,
      actor: this.input.actor,
    };
    await startDetached('purgeJobState', purgeWorkflowId(this.#key), purge);
  }

  get #isOver(): boolean {
    return this.#standing !== undefined && isJobOver(this.#standing.state);
  }

  #refuseOver(): void {
    if (!this.#isOver) return;
    throw ApplicationFailure.nonRetryable(
      `job ${this.#key.jobId} is ${this.#standing?.state}: it is over`,
      FAILURE.NOT_CANCELLABLE,
      'NOT_CANCELLABLE',
    );
  }

  #end(): JobEnd {
    const { state, execution, restarts, reason, rows } = this.#standing!;
    if (!isJobOver(state)) throw new Error(`the job is ${state}`);
    return {
      outcome: state,
      ...this.#key,
      execution,
      restarts,
      rowsIn: rows?.in ?? 0,
      rowsOut: rows?.out ?? 0,
      ...(state === 'FAILED' && reason !== undefined && { reason }),
    };
  }

  #show(): void {
    const { state, execution, restarts, reason } = this.#standing!;
    // Before the patch only the first and the last state became the phase.
    const isEnd = this.#shown === undefined || this.#isOver;
    if (this.#shown !== state && (isEnd || patched('phase-of-every-state'))) {
      upsertSearchAttributes([{ key: stewardPhase, value: state }]);
    }
    this.#shown = state;
    setCurrentDetails(
      [
        `Job ${this.#key.jobId} is ${state}`,
        '',
        '| execution | restarts | task groups | last failure |',
        '| --- | --- | --- | --- |',
        `| ${execution} | ${restarts} of ${this.input.job.env.retryTimes} | ${countTaskGroups(this.input)} | ${reason ?? ''} |`,
      ].join('\n'),
    );
  }
}

function countTaskGroups({ job }: RunJobInput): number {
  return job.pipelines.reduce((sum, { taskGroups }) => sum + taskGroups.length, 0);
}
