import { eventually } from '../support/eventually.js';
import { rateJob } from '../support/jobs.js';
import type { Steward } from '../support/steward.js';

/** A stream of ten task groups that runs and is looked after. */
export interface TenTaskGroups {
  readonly jobId: string;
  /** How often its nodes were asked since it runs. */
  looks(): Promise<number>;
  /** Events so far, and the activities among them. */
  history(): Promise<{ readonly total: number; readonly activities: readonly string[] }>;
}

/** Resolves when everything that starts it is in its history. */
export async function runTenTaskGroups(steward: Steward, directory: string): Promise<TenTaskGroups> {
  const jobId = 'ten';
  const handle = await steward.client.jobs.submit({
    jobId,
    job: rateJob(
      directory,
      { rows: 0, rowsPerSecond: 50, taskGroups: 10 },
      { jobMode: 'STREAMING', progressTimeoutMs: 60_000, checkpointIntervalMs: 1_000 },
    ),
  });
  const looks = async () => {
    const { pendingActivities } = await handle.describe();
    return pendingActivities.find(({ activityType }) => activityType === 'superviseJob')?.attempt ?? 0;
  };
  await eventually('it is looked after', async () => (await looks()) > 0);
  return { jobId, looks, history: () => steward.events(handle.operationId) };
}
