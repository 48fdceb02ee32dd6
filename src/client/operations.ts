import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { WorkflowExecutionDescription } from '@temporalio/client';
import { OPERATION_ID, REASON } from '../rules/bounds.js';
import { text } from '../rules/input.js';
import { type Holder, SCHEDULE_ACTOR } from '../rules/words.js';
import type { Coordinator } from './coordinator.js';
import { StewardError } from './errors.js';
import { holderFrom, isoOf } from './messages.js';
import type { Operation, OperationDescription, OperationProgress } from './model.js';
import { OperationHandle, outcomeOf, supersededBy } from './operation-handle.js';
import type { Pause } from './pauses.js';
import { Problems } from './problems.js';
import type { OperationType, Temporal } from './temporal.js';
import { isLostUpdate, UPDATE_ATTEMPTS, UPDATE_RETRY_MS } from './updates.js';
import { valid } from './validation.js';

const WORKFLOW_TYPES = Object.keys({
  createRegionGroups: true,
  recreateMissingReplicas: true,
  removeRegionGroups: true,
  deleteDatabase: true,
  sweepReplicas: true,
  drainLegacyQueue: true,
  planOptimizing: true,
  commitTable: true,
  healStuckCommits: true,
  sweepTables: true,
  keepOptimizerGroup: true,
  ensureKeepers: true,
  runJob: true,
  purgeJobState: true,
  sweepJobs: true,
} satisfies Record<OperationType, true>);

/** What no schedule started, and what did not go well. An operation that was started by hand may have no actor. */
const NEWS = `(StewardActor != '${SCHEDULE_ACTOR}' OR StewardActor IS NULL OR ExecutionStatus != 'Completed')`;
/** A worker that is busy or away must not hold up a description. */
const CURRENT_DETAILS_WAIT_MS = 1_000;

/** Most operations of a list, unless it is said. */
export const LISTED = 200;

export interface OperationFilter {
  /** Only what is open. */
  readonly running?: boolean | undefined;
  /**
   * Only what this one started. Without it, what a schedule started is left out once it has completed: there are several of
   * those a minute, and `client.schedules` tells of them.
   */
  readonly actor?: string | undefined;
  /** {@link LISTED} by default. */
  readonly limit?: number | undefined;
  /** Told, in one line, of pauses that are left out because the coordinator does not answer. */
  readonly onProblem?: OnProblem | undefined;
}

type OnProblem = (problem: string) => void;

export interface DescribeOptions {
  /** Leave out what takes further questions: the current details, and the summaries of pending activities. */
  readonly brief?: boolean | undefined;
  /** Told, in one line, of pauses and progress that are left out because the coordinator does not answer. */
  readonly onProblem?: OnProblem | undefined;
}

/** `client.operations`: the workflows of Steward. */
export class Operations {
  constructor(
    private readonly coordinator: Coordinator,
    private readonly temporal: () => Promise<Temporal>,
    private readonly actor: string,
  ) {}

  /** The newest first, from Temporal's visibility store: what just started or ended may be missing for a moment. */
  async list({
    running = false,
    actor,
    limit = LISTED,
    onProblem,
  }: OperationFilter = {}): Promise<Operation[]> {
    const temporal = await this.temporal();
    const { operationFrom } = await import('./operation-description.js');
    const types = WORKFLOW_TYPES.map((type) => `'${type}'`).join(', ');
    const status = running ? "ExecutionStatus = 'Running'" : "ExecutionStatus != 'ContinuedAsNew'";
    // Temporal's queries cannot say every text with a backslash: then the list is read whole.
    const by =
      actor === undefined
        ? [NEWS]
        : actor.includes('\\')
          ? []
          : [`StewardActor = '${actor.replaceAll("'", "''")}'`];
    const problems = new Problems();
    const listing = temporal.askWithoutKeys(async (client) => {
      const found: Operation[] = [];
      const query = [`WorkflowType IN (${types})`, status, ...by].join(' AND ');
      for await (const info of client.workflow.list({ query, pageSize: Math.min(limit, 200) })) {
        const operation = operationFrom(info);
        if (actor !== undefined && operation.actor !== actor) continue;
        found.push(operation);
        if (found.length === limit) break;
      }
      return found;
    });
    const [listed, pauses] = await Promise.all([
      listing,
      this.#pausesIfKnown(this.coordinator.briefly(), problems),
    ]);
    for (const problem of problems.lines) onProblem?.(problem);
    return listed.map((operation) => withPause(operation, pauses));
  }

  /**
   * How an operation stands: the newest run of that id, its progress, what it waits for and what blocks it (I8).
   *
   * @throws StewardError INVALID_INPUT, NOT_FOUND, UNAVAILABLE
   */
  async get(operationId: string, options: DescribeOptions = {}): Promise<OperationDescription> {
    const temporal = await this.temporal();
    const id = valid(() => text({ operationId }, 'operationId', OPERATION_ID));
    return this.#describe(temporal, id, undefined, options);
  }

  /** An operation that runs or ran, to wait for. Nothing is asked yet. */
  async handle<T = unknown>(operationId: string): Promise<OperationHandle<T>> {
    const description = await this.get(operationId, { brief: true });
    const temporal = await this.temporal();
    return this.handleOf(temporal, operationId, description.firstRunId, true);
  }

  /**
   * Asks a running operation to end early: a creation removes what is not RUNNING yet, a recreation lets go of its claim, a
   * removal or a deletion ends only as long as it has not claimed anything. Resolves when the operation has ended, or had
   * ended by a cancellation before.
   *
   * @throws StewardError INVALID_INPUT; NOT_FOUND when nothing runs under that id; REJECTED, with the reason, past the point
   * of no return; UNAVAILABLE
   */
  async cancel(operationId: string): Promise<void> {
    const temporal = await this.temporal();
    const id = valid(() => text({ operationId }, 'operationId', OPERATION_ID));
    const updateId = randomUUID();
    for (let attempt = 1; ; attempt += 1) {
      try {
        await temporal.ask((client) => client.workflow.getHandle(id).executeUpdate('cancel', { updateId }));
        return;
      } catch (error) {
        const ended = await this.#endOf(temporal, id).catch(() => undefined);
        // An Update whose answer was lost, here or inside Temporal's client, may have ended the operation all the same.
        if (ended?.outcome === 'CANCELED') return;
        if (ended !== undefined && error instanceof StewardError && error.code === 'NOT_FOUND')
          throw new StewardError('NOT_FOUND', `${id} has ended: there is nothing to cancel`, {
            cause: error,
          });
        // An Update that meets a workflow task which fails is lost; under the same id it is not applied twice.
        if (attempt === UPDATE_ATTEMPTS || !isLostUpdate(error)) throw error;
        await sleep(UPDATE_RETRY_MS);
      }
    }
  }

  /**
   * Keeps an operation from submitting anything new to nodes until it is resumed; what nodes have accepted goes on. Without
   * an id: every operation, and heals, planning and keepers as well. Pausing again changes the reason.
   *
   * @throws StewardError INVALID_INPUT; NOT_FOUND when nothing runs under that id; UNAVAILABLE
   */
  async pause(operationId: string | undefined, reason: string): Promise<void> {
    const why = valid(() => text({ reason }, 'reason', REASON));
    const id =
      operationId === undefined ? '' : valid(() => text({ operationId }, 'operationId', OPERATION_ID));
    if (id !== '') {
      const { closedAt } = await this.get(id, { brief: true });
      if (closedAt !== undefined)
        throw new StewardError('NOT_FOUND', `${id} has ended: there is nothing to pause`);
    }
    await this.coordinator.ask((catalog) =>
      catalog.pauseOperation({ operationId: id, actor: this.actor, reason: why }),
    );
  }

  /** @throws StewardError INVALID_INPUT; REJECTED when it is not paused; UNAVAILABLE */
  async resume(operationId: string | undefined): Promise<void> {
    const id =
      operationId === undefined ? '' : valid(() => text({ operationId }, 'operationId', OPERATION_ID));
    await this.coordinator.ask((catalog) => catalog.resumeOperation({ operationId: id, actor: this.actor }));
  }

  /** What is paused, a pause of everything first. */
  async pauses(): Promise<Pause[]> {
    return pausesOf(this.coordinator);
  }

  /** The handle of what was started. */
  handleOf<T>(temporal: Temporal, operationId: string, runId: string, attached: boolean): OperationHandle<T> {
    const workflow = temporal.client.workflow.getHandle(operationId, undefined, {
      firstExecutionRunId: runId,
    });
    return new OperationHandle<T>(operationId, runId, attached, temporal, workflow, () =>
      this.#describe(temporal, operationId, runId, { brief: true }),
    );
  }

  /** Of the newest run, or of the last run in the chain that `firstRunId` began. */
  async #describe(
    temporal: Temporal,
    operationId: string,
    firstRunId: string | undefined,
    options: DescribeOptions,
  ): Promise<OperationDescription> {
    const { blockersOf, operationFrom, pendingActivityFrom } = await import('./operation-description.js');
    const newest = await this.#describeRun(temporal, operationId, undefined);
    const chain = newest.raw.workflowExecutionInfo?.firstRunId || newest.runId;
    // Another chain runs under this id by now; ours is then as its first run tells.
    const described =
      firstRunId === undefined || chain === firstRunId
        ? newest
        : await this.#describeRun(temporal, operationId, firstRunId);
    const operation = operationFrom(described);
    const first = described.raw.workflowExecutionInfo?.firstRunId || described.runId;
    const open = operation.closedAt === undefined;
    const pending = described.raw.pendingActivities ?? [];
    const summaries =
      pending.length > 0 && options.brief !== true
        ? await this.#activitySummaries(temporal, operationId, described.runId)
        : new Map<string, string>();
    const pendingActivities = await Promise.all(
      pending.map(async (one) =>
        pendingActivityFrom(
          one,
          summaries.get(one.activityId ?? ''),
          await temporal.messageOf(one.lastFailure),
        ),
      ),
    );
    const coordinator = this.coordinator.briefly();
    const problems = new Problems();
    const [pauses, summary, details, currentDetails, claim, end] = await Promise.all([
      open ? this.#pausesIfKnown(coordinator, problems) : [],
      described.staticSummary(),
      described.staticDetails(),
      open && options.brief !== true ? this.#currentDetails(temporal, operationId) : undefined,
      this.#claim(coordinator, operationId, first, problems),
      open ? undefined : this.#end(temporal, operationId, described.runId),
    ]);
    for (const problem of problems.lines) options.onProblem?.(problem);
    const by = claim?.supersededBy ?? supersededBy(end?.result);
    return {
      ...withPause(operation, pauses),
      firstRunId: first,
      ...(operation.actor === undefined && claim && { actor: claim.holder.actor }),
      ...(summary !== undefined && { summary }),
      ...(details !== undefined && { details }),
      ...(currentDetails !== undefined && { currentDetails }),
      ...(claim && { progress: claim.progress }),
      pendingActivities,
      blockers: open ? blockersOf(described.raw, pendingActivities, new Date()) : [],
      ...end,
      ...(by && { supersededBy: by }),
    };
  }

  /** None while the coordinator is away. */
  async #pausesIfKnown(coordinator: Coordinator, problems: Problems): Promise<Pause[]> {
    try {
      return await pausesOf(coordinator);
    } catch (error) {
      if (!isUnavailable(error)) throw error;
      problems.add('pauses', error);
      return [];
    }
  }

  /** Undefined while it goes on. */
  async #endOf(temporal: Temporal, operationId: string): Promise<{ readonly outcome: unknown } | undefined> {
    const { closedAt, result } = await this.#describe(temporal, operationId, undefined, { brief: true });
    return closedAt === undefined ? undefined : { outcome: outcomeOf(result) };
  }

  async #describeRun(
    temporal: Temporal,
    operationId: string,
    runId: string | undefined,
  ): Promise<WorkflowExecutionDescription> {
    return temporal.ask((client) => client.workflow.getHandle(operationId, runId).describe());
  }

  /** What the catalog knows of it; undefined before its first claim, and while the coordinator is away. */
  async #claim(
    coordinator: Coordinator,
    workflowId: string,
    firstRunId: string,
    problems: Problems,
  ): Promise<{ holder: Holder; progress: OperationProgress; supersededBy?: Holder } | undefined> {
    try {
      const {
        holder,
        replicas,
        open,
        supersededBy: by,
      } = await coordinator.ask((catalog) => catalog.getHolder({ workflowId, firstRunId }));
      return {
        holder: holderFrom(holder!),
        progress: {
          total: replicas,
          open: open.reduce((sum, one) => sum + one.replicas, 0),
          openByNode: open.map(({ nodeId, replicas: count }) => ({ nodeId, replicas: count })),
        },
        ...(by && { supersededBy: holderFrom(by) }),
      };
    } catch (error) {
      if (error instanceof StewardError && error.code === 'NOT_FOUND') return undefined;
      if (!isUnavailable(error)) throw error;
      problems.add('progress', error);
      return undefined;
    }
  }

  async #currentDetails(temporal: Temporal, operationId: string): Promise<string | undefined> {
    const limit = new AbortController();
    const asked = temporal.ask((client) =>
      client.withAbortSignal(limit.signal, () =>
        client.workflow
          .getHandle(operationId)
          .query<{ currentDetails?: string }>('__temporal_workflow_metadata'),
      ),
    );
    const answer = await Promise.race([
      asked.catch(() => undefined),
      sleep(CURRENT_DETAILS_WAIT_MS, undefined, { ref: false }),
    ]);
    limit.abort();
    return answer?.currentDetails || undefined;
  }

  /** By activity id. Temporal keeps them with the history, not with what is pending. */
  async #activitySummaries(
    temporal: Temporal,
    operationId: string,
    runId: string,
  ): Promise<Map<string, string>> {
    const history = await temporal.ask((client) =>
      client.workflow.getHandle(operationId, runId).fetchHistory(),
    );
    const summaries = new Map<string, string>();
    for (const { activityTaskScheduledEventAttributes: scheduled, userMetadata } of history.events ?? []) {
      const summary = scheduled?.activityId && (await temporal.decode(userMetadata?.summary));
      if (summary) summaries.set(scheduled.activityId!, summary);
    }
    return summaries;
  }

  async #end(
    temporal: Temporal,
    operationId: string,
    runId: string,
  ): Promise<Pick<OperationDescription, 'result' | 'failure'>> {
    try {
      const result: unknown = await temporal.ask((client) =>
        client.workflow.getHandle(operationId, runId, { followRuns: false }).result(),
      );
      return { result };
    } catch (error) {
      const { code, message, details } = StewardError.from(error);
      return { failure: { code, message, ...(details !== undefined && { details }) } };
    }
  }
}

function isUnavailable(error: unknown): boolean {
  return error instanceof StewardError && error.code === 'UNAVAILABLE';
}

/** Of what is open, the pause that it is under. */
function withPause(operation: Operation, pauses: readonly Pause[]): Operation {
  if (operation.closedAt !== undefined) return operation;
  const pause = pauses.find(
    ({ operationId }) => operationId === undefined || operationId === operation.operationId,
  );
  return pause === undefined ? operation : { ...operation, paused: pause };
}

async function pausesOf(coordinator: Coordinator): Promise<Pause[]> {
  const { pauses } = await coordinator.ask((catalog) => catalog.listPauses({}));
  return pauses.map(({ operationId, actor, reason, since }) => ({
    ...(operationId !== '' && { operationId }),
    actor,
    reason,
    since: isoOf(since),
  }));
}
