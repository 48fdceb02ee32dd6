import type { ScheduleHandle } from '@temporalio/client';
import { StewardError } from './errors.js';
import type { Operation } from './model.js';
import type { Temporal } from './temporal.js';

/** What Steward starts by itself at an interval, as Temporal's schedules have it. */
export interface Schedule {
  readonly scheduleId: string;
  readonly workflowType: string;
  readonly everyMs: number;
  /** MISSING: nobody ensured it yet, or somebody deleted it. */
  readonly state: 'ACTIVE' | 'PAUSED' | 'MISSING';
  /** Why it is paused, as whoever paused it said. */
  readonly note?: string;
  readonly lastStartedAt?: string;
  readonly nextStartAt?: string;
}

/** A start of a schedule, and what became of it. */
export type ScheduleRun = Pick<Operation, 'operationId' | 'status' | 'startedAt' | 'closedAt'> & {
  /** That of the workflow, once it is COMPLETED. */
  readonly result?: unknown;
};

/** `client.schedules` */
export class Schedules {
  constructor(
    private readonly temporal: () => Promise<Temporal>,
    private readonly actor: string,
  ) {}

  /** Makes the schedules that are missing, and brings the others to their defaults; one that is paused stays so. */
  async ensure(): Promise<{ readonly created: readonly string[]; readonly schedules: readonly Schedule[] }> {
    const temporal = await this.temporal();
    const { ensureSchedules } = await import('../temporal/schedules.js');
    const created = await temporal.ask((client) => ensureSchedules(client, temporal.taskQueue));
    return { created, schedules: await this.list() };
  }

  /** Every schedule that Steward keeps, there or missing. */
  async list(): Promise<Schedule[]> {
    const { SCHEDULES } = await import('../temporal/schedules.js');
    return Promise.all(SCHEDULES.map(({ scheduleId }) => this.get(scheduleId)));
  }

  /** @throws StewardError INVALID_INPUT, UNAVAILABLE */
  async get(scheduleId: string): Promise<Schedule> {
    const { workflowType, everyMs } = await known(scheduleId);
    const about = { scheduleId, workflowType, everyMs };
    const temporal = await this.temporal();
    try {
      const { state, info } = await temporal.ask((client) =>
        client.schedule.getHandle(scheduleId).describe(),
      );
      const last = info.recentActions.at(-1)?.takenAt;
      const next = info.nextActionTimes[0];
      return {
        ...about,
        state: state.paused ? 'PAUSED' : 'ACTIVE',
        ...(state.paused && state.note !== undefined && state.note !== '' && { note: state.note }),
        ...(last && { lastStartedAt: last.toISOString() }),
        ...(next && !state.paused && { nextStartAt: next.toISOString() }),
      };
    } catch (error) {
      if (error instanceof StewardError && error.code === 'NOT_FOUND') return { ...about, state: 'MISSING' };
      throw error;
    }
  }

  /** @throws StewardError INVALID_INPUT; NOT_FOUND when it is missing; UNAVAILABLE */
  pause(scheduleId: string, reason?: string): Promise<Schedule> {
    const note = `${reason ?? 'paused'} (${this.actor})`;
    return this.#change(scheduleId, (handle) => handle.pause(note));
  }

  /**
   * The last runs that Temporal keeps with the schedule (up to ten), the newest first; runs past their retention are left out.
   *
   * @throws StewardError as `pause`
   */
  async runs(scheduleId: string): Promise<ScheduleRun[]> {
    await known(scheduleId);
    const temporal = await this.temporal();
    const { info } = await temporal.ask((client) => client.schedule.getHandle(scheduleId).describe());
    const runs = await Promise.all(
      info.recentActions.flatMap(({ action }) =>
        action.type === 'startWorkflow'
          ? [runFrom(temporal, action.workflow.workflowId, action.workflow.firstExecutionRunId)]
          : [],
      ),
    );
    return runs.filter((run) => run !== undefined).reverse();
  }

  /** @throws StewardError as `pause` */
  resume(scheduleId: string): Promise<Schedule> {
    return this.#change(scheduleId, (handle) => handle.unpause(`resumed by ${this.actor}`));
  }

  /** Starts it at once, unless its last start still runs. Also while it is paused. Throws as `pause`. */
  trigger(scheduleId: string): Promise<Schedule> {
    return this.#change(scheduleId, (handle) => handle.trigger('SKIP'));
  }

  async #change(scheduleId: string, change: (handle: ScheduleHandle) => Promise<void>): Promise<Schedule> {
    await known(scheduleId);
    const temporal = await this.temporal();
    await temporal.ask((client) => change(client.schedule.getHandle(scheduleId)));
    return this.get(scheduleId);
  }
}

async function runFrom(
  temporal: Temporal,
  workflowId: string,
  runId: string,
): Promise<ScheduleRun | undefined> {
  const { operationFrom } = await import('./operation-description.js');
  try {
    return await temporal.ask(async (client) => {
      const handle = client.workflow.getHandle(workflowId, runId);
      const { operationId, status, startedAt, closedAt } = operationFrom(await handle.describe());
      return {
        operationId,
        status,
        startedAt,
        ...(closedAt !== undefined && { closedAt }),
        ...(status === 'COMPLETED' && { result: await handle.result() }),
      };
    });
  } catch (error) {
    if (error instanceof StewardError && error.code === 'NOT_FOUND') return undefined;
    throw error;
  }
}

async function known(scheduleId: string) {
  const { SCHEDULES } = await import('../temporal/schedules.js');
  const found = SCHEDULES.find((schedule) => schedule.scheduleId === scheduleId);
  if (found !== undefined) return found;
  const ids = SCHEDULES.map((schedule) => schedule.scheduleId).join(', ');
  throw new StewardError('INVALID_INPUT', `scheduleId: expected one of ${ids}, got ${scheduleId}`, {
    details: { field: 'scheduleId' },
  });
}
