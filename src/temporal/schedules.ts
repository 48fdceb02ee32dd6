import {
  type Client,
  ScheduleAlreadyRunning,
  type ScheduleOptions,
  ScheduleOverlapPolicy,
} from '@temporalio/client';
import type { SweepReplicasInput } from '../rules/input.js';

/** A periodic heal, as Temporal's schedule runs it. */
export interface StewardSchedule {
  readonly scheduleId: string;
  readonly workflowType: 'sweepReplicas';
  readonly everyMs: number;
  readonly input: SweepReplicasInput;
}

const MINUTE_MS = 60_000;

/** Every schedule that Steward keeps, with its defaults. */
export const SCHEDULES: readonly StewardSchedule[] = [
  {
    scheduleId: 'steward/sweep-replicas',
    workflowType: 'sweepReplicas',
    everyMs: 5 * MINUTE_MS,
    input: { mode: 'observe', gracePeriodMs: 5 * MINUTE_MS, actor: 'schedule' },
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
    try {
      await client.schedule.create(wanted);
      created.push(schedule.scheduleId);
    } catch (error) {
      if (!(error instanceof ScheduleAlreadyRunning)) throw error;
      const handle = client.schedule.getHandle(schedule.scheduleId);
      // `update` unpauses unless the state is passed back.
      await handle.update(({ state }) => ({ ...wanted, state }));
    }
  }
  return created;
}

function options({ scheduleId, workflowType, everyMs, input }: StewardSchedule, taskQueue: string) {
  return {
    scheduleId,
    spec: { intervals: [{ every: everyMs }], jitter: Math.min(everyMs / 10, 30_000) },
    policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: MINUTE_MS },
    action: { type: 'startWorkflow', workflowType, workflowId: scheduleId, taskQueue, args: [input] },
  } satisfies ScheduleOptions;
}
