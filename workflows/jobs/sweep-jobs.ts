import { proxyActivities, setCurrentDetails, upsertSearchAttributes } from '@temporalio/workflow';
import type { SweepJobsActivities } from '../../activities/jobs/sweep-jobs.js';
import { jobWorkflowId, purgeWorkflowId } from '../../src/rules/job-ids.js';
import {
  type PurgeJobStateInput,
  type RunJobInput,
  type SweepJobsInput,
  sweepJobsInput,
} from '../../src/rules/job-input.js';
import { RECONCILE } from '../activity-options.js';
import { startDetached } from '../detached.js';
import { guarded } from '../failures.js';
import { stewardActor, stewardPhase } from '../search-attributes.js';

const { unpurgedTombstones, abandonedJobs, deliverOwedCancels } =
  proxyActivities<SweepJobsActivities>(RECONCILE);

export interface JobSweepResult {
  /** Jobs whose workflow was gone, started again. */
  readonly drivenOn: readonly string[];
  /** Overdue tombstones that had no purge; it was started. */
  readonly purges: readonly string[];
  /** Cancels that nodes confirmed in this sweep, and those that they still have to. */
  readonly cancels: { readonly confirmed: number; readonly owed: number };
}

/** Finds what of jobs nobody looks after any more, and drives it on (I8). */
export async function sweepJobs(raw?: Partial<SweepJobsInput>): Promise<JobSweepResult> {
  const { actor } = guarded(sweepJobsInput, raw);
  upsertSearchAttributes([
    { key: stewardActor, value: actor },
    { key: stewardPhase, value: 'SWEEP_JOBS' },
  ]);
  const drivenOn: string[] = [];
  for (const { jobId, owner, job, actor: submitter } of await abandonedJobs.executeWithOptions(
    { summary: 'find jobs whose workflow is gone' },
    [],
  )) {
    const input: RunJobInput = { jobId, job, owner, fromSavepoint: false, actor: submitter };
    await startDetached('runJob', jobWorkflowId(jobId), input);
    drivenOn.push(jobWorkflowId(jobId));
  }
  const purges: string[] = [];
  for (const key of await unpurgedTombstones.executeWithOptions(
    { summary: 'find tombstones that nobody purges' },
    [],
  )) {
    const input: PurgeJobStateInput = { ...key, delayMs: 0, actor };
    await startDetached('purgeJobState', purgeWorkflowId(key), input);
    purges.push(purgeWorkflowId(key));
  }
  const summary = 'deliver the cancels that nodes are owed';
  const cancels = await deliverOwedCancels.executeWithOptions({ summary }, []);
  setCurrentDetails(
    `${drivenOn.length} jobs driven on, ${purges.length} purges started, ${cancels.owed} cancels still owed to nodes`,
  );
  return { drivenOn, purges, cancels };
}
