import { proxyActivities, setCurrentDetails, sleep, upsertSearchAttributes } from '@temporalio/workflow';
import type { JobActivities } from '../../activities/jobs/jobs.js';
import { type PurgeJobStateInput, purgeJobStateInput } from '../../src/rules/job-input.js';
import { DURABLE_STEP } from '../activity-options.js';
import { guarded } from '../failures.js';
import { stewardActor, stewardPhase, stewardResource } from '../search-attributes.js';

const { purgeJob } = proxyActivities<Pick<JobActivities, 'purgeJob'>>(DURABLE_STEP);

export interface PurgeResult {
  /** GONE: the rows of this owner were not there any more. */
  readonly outcome: 'PURGED' | 'GONE';
}

/**
 * Lets a tombstone stand for its delay, durably, and then deletes what the catalog has of this owner of the job id, and of no
 * other (I7). A delay of 0 takes the same path; a purge that fails is logged and tried again, for as long as it takes.
 */
export async function purgeJobState(raw: PurgeJobStateInput): Promise<PurgeResult> {
  const { jobId, owner, delayMs, actor } = guarded(purgeJobStateInput, raw);
  upsertSearchAttributes([
    { key: stewardResource, value: `job/${jobId}` },
    { key: stewardActor, value: actor },
    { key: stewardPhase, value: 'TOMBSTONE' },
  ]);
  setCurrentDetails(`The state of job ${jobId} (owner ${owner}) stays for ${delayMs} ms, then it is purged.`);
  await sleep(delayMs, { summary: `tombstone of job ${jobId}` });
  const outcome = await purgeJob.executeWithOptions({ summary: `purge job ${jobId}` }, [{ jobId, owner }]);
  return { outcome };
}
