import {
  type Client,
  isGrpcDeadlineError,
  ScheduleAlreadyRunning,
  type ScheduleOptions,
  ScheduleOverlapPolicy,
} from '@temporalio/client';
import type { SweepReplicasInput } from '../rules/input.js';
import type { SweepJobsInput } from '../rules/job-input.js';
import type { EnsureKeepersInput } from '../rules/keeper-input.js';
import {
  type HealStuckCommitsInput,
  healStuckCommitsInput,
  type PlanOptimizingInput,
  type SweepTablesInput,
  sweepTablesInput,
} from '../rules/optimizing-input.js';
import { SCHEDULE_ACTOR } from '../rules/words.js';

/** What is started at an interval, as Temporal's schedule does it. */
export type StewardSchedule = { readonly scheduleId: string; readonly everyMs: number } & (
  | { readonly workflowType: 'sweepReplicas'; readonly input: SweepReplicasInput }
  | { readonly workflowType: 'planOptimizing'; readonly input: PlanOptimizingInput }
  | { readonly workflowType: 'healStuckCommits'; readonly input: HealStuckCommitsInput }
  | { readonly workflowType: 'sweepJobs'; readonly input: SweepJobsInput }
  | { readonly workflowType: 'sweepTables'; readonly input: SweepTablesInput }
  | { readonly workflowType: 'ensureKeepers'; readonly input: EnsureKeepersInput }
);

const MINUTE_MS = 60_000;
const ATTEMPTS = 4;

/** Every schedule that Steward keeps, with its defaults. */
export const SCHEDULES: readonly StewardSchedule[] = [
  {
    scheduleId: 'steward/sweep-replicas',
    workflowType: 'sweepReplicas',
    everyMs: 5 * MINUTE_MS,
    input: { mode: 'observe', gracePeriodMs: 5 * MINUTE_MS, actor: SCHEDULE_ACTOR },
  },
  {
    scheduleId: 'steward/plan-optimizing',
    workflowType: 'planOptimizing',
    everyMs: MINUTE_MS,
    input: { actor: SCHEDULE_ACTOR },
  },
  {
    scheduleId: 'steward/heal-stuck-commits',
    workflowType: 'healStuckCommits',
    everyMs: MINUTE_MS,
    input: healStuckCommitsInput({ mode: 'repair', actor: SCHEDULE_ACTOR }),
  },
  {
    scheduleId: 'steward/sweep-tables',
    workflowType: 'sweepTables',
    everyMs: 60 * MINUTE_MS,
    input: sweepTablesInput({ actor: SCHEDULE_ACTOR }),
  },
  {
    scheduleId: 'steward/ensure-keepers',
    workflowType: 'ensureKeepers',
    everyMs: MINUTE_MS,
    input: { actor: SCHEDULE_ACTOR },
  },
  {
    scheduleId: 'steward/sweep-jobs',
    workflowType: 'sweepJobs',
    everyMs: MINUTE_MS,
    input: { actor: SCHEDULE_ACTOR },
  },
];

/**
 * Creates the schedules that are missing and brings the others to what is wanted here; asking again changes nothing. A
 * schedule that an operator paused stays paused. Answers the ids of those that were created.
 */
export async function ensureSchedules(client: Client, taskQueue: string): Promise<string[]> {
  const created: string[] = [];
  for (const schedule of SCHEDULES) {
    const wanted = options(schedule, taskQueue);
    if (await inTime(() => ensureSchedule(client, wanted))) created.push(schedule.scheduleId);
  }
  return created;
}

/** Whether it was created. */
async function ensureSchedule(client: Client, wanted: ReturnType<typeof options>): Promise<boolean> {
  try {
    await client.schedule.create(wanted);
    return true;
  } catch (error) {
    if (!(error instanceof ScheduleAlreadyRunning)) throw error;
    const handle = client.schedule.getHandle(wanted.scheduleId);
    // `update` unpauses unless the state is passed back.
    await handle.update(({ state }) => ({ ...wanted, state }));
    return false;
  }
}

/** Asks again what a server that has just started, or is busy, did not answer in its own time. */
async function inTime<T>(ask: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await ask();
    } catch (error) {
      if (attempt === ATTEMPTS || !isGrpcDeadlineError(error)) throw error;
    }
  }
}

function options({ scheduleId, workflowType, everyMs, input }: StewardSchedule, taskQueue: string) {
  return {
    scheduleId,
    spec: { intervals: [{ every: everyMs }], jitter: Math.min(everyMs / 10, 30_000) },
    policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: MINUTE_MS },
    action: { type: 'startWorkflow', workflowType, workflowId: scheduleId, taskQueue, args: [input] },
  } satisfies ScheduleOptions;
}
