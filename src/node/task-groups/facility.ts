import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from '../../log.js';
import { signalProcess } from '../../process-identity.js';
import { type TaskGroupLocation, taskGroupPath } from '../../rules/operation-id.js';
import { inSpan } from '../../tracing/tracing.js';
import { type EffectContext, EffectError, type Facility, type Recovered } from '../facility.js';
import type { Faults } from '../faults.js';
import type { Ledger } from '../ledger.js';
import type { CancelTaskGroup, DeployTaskGroup, NodeRequest, TaskGroupRequest } from '../operation.js';
import { Interrupted, type LiveOperation } from '../resource-queues.js';
import { Background } from './background.js';
import type { Coordinator } from './coordinator.js';
import { isOver, type TaskGroupRecord, withoutRunner } from './record.js';
import { type RecordQuery, TaskGroupRecords } from './records.js';
import { TaskGroupRun } from './run.js';
import { RunnerPool } from './runner-pool.js';
import { settleCheckpoint } from './settlement.js';
import { discardStaging } from './staging.js';

export interface TaskGroupOptions {
  readonly nodeId: string;
  readonly ledger: Ledger;
  readonly coordinator: Coordinator;
  readonly faults: Faults;
  /** The data directory of the node. */
  readonly data: string;
  /** Task groups that run at a time. */
  readonly maxTaskGroups: number;
  /** How long the record of an end is kept after its acknowledgement. */
  readonly retentionMs: number;
  /** How long a savepoint may take before it has failed. */
  readonly savepointLimitMs: number;
  readonly log: Logger;
}

/** A task group as it is listed; `idleMs` only for one that runs. */
export interface FoundTaskGroup {
  readonly record: TaskGroupRecord;
  readonly idleMs?: number;
}

/** Counters are recorded, and with that told, this often. */
const COUNT_MS = 500;
const LEAST_SWEEP_MS = 100;
const MOST_SWEEP_MS = 60_000;

/**
 * The task groups of a node. Each location has at most one execution at work and one record, of its newest execution. A
 * record is there before the work starts, and until a higher execution replaced it, or the coordinator acknowledged its
 * end and the retention is over.
 */
export class TaskGroupFacility implements Facility<TaskGroupRequest> {
  readonly capability = 'task-groups';
  readonly #records: TaskGroupRecords;
  readonly #pool = new RunnerPool();
  readonly #runs = new Map<string, TaskGroupRun>();
  readonly #settling: Background;
  readonly #reporting: Background;
  readonly #timers: readonly NodeJS.Timeout[];
  readonly #undone = new WeakSet<TaskGroupRun>();
  #stopping = false;

  constructor(private readonly options: TaskGroupOptions) {
    const { ledger, log, retentionMs } = options;
    this.#records = new TaskGroupRecords(ledger.root);
    const onError = (location: string, error: unknown): void =>
      log.error({ err: error, location }, 'a task group could not be settled in an unforeseen way');
    this.#settling = new Background(onError);
    this.#reporting = new Background(onError);
    const sweepMs = Math.min(Math.max(retentionMs, LEAST_SWEEP_MS), MOST_SWEEP_MS);
    this.#timers = [setInterval(() => this.#count(), COUNT_MS), setInterval(() => this.#forget(), sweepMs)];
  }

  async perform(request: TaskGroupRequest, context: EffectContext): Promise<undefined> {
    if (request.verb === 'deploy-task-group') await this.#deploy(request, context);
    else await this.#cancel(request, context);
  }

  /** Why one more cannot be deployed now; undefined when it can. */
  full(request: NodeRequest, underWay: () => number): string | undefined {
    if (request.verb !== 'deploy-task-group') return undefined;
    if (this.#runs.has(taskGroupPath(request.location))) return undefined;
    const { maxTaskGroups } = this.options;
    return this.#runs.size + underWay() < maxTaskGroups ? undefined : `${maxTaskGroups} task groups run`;
  }

  list(query: RecordQuery): FoundTaskGroup[] {
    return this.#records.list(query).map((record) => {
      const run = this.#runs.get(taskGroupPath(record.location));
      return record.state === 'RUNNING' && run !== undefined ? { record, idleMs: run.idleMs } : { record };
    });
  }

  /**
   * What ran when the node stopped is FAILED, and never goes on by itself. Nothing that is asked is interrupted: a
   * deployment whose record is there had started, and the end of what it started is in that record.
   */
  async recover(pending: readonly LiveOperation[]): Promise<Recovered> {
    await rm(this.#scratch, { recursive: true, force: true });
    const cutShort = this.#records.all().filter(({ state }) => state === 'RUNNING');
    for (const { runner } of cutShort) if (runner !== undefined) signalProcess(runner, 'SIGKILL');
    for (const record of cutShort) {
      const { location, execution, directory, unsettled } = record;
      if (unsettled === undefined) {
        await discardStaging(directory, location, execution).catch((err: unknown) =>
          this.#logOf(record).error({ err }, 'cannot throw away what was staged'),
        );
      }
      const error = 'the node stopped while it ran';
      this.#records.put({ ...withoutRunner(record), state: 'FAILED', error, endedAtMs: Date.now() });
      this.#logOf(record).warn(`task group failed: ${error}`);
    }
    for (const record of this.#records.all()) this.#ended(record);
    const failed = new Set(cutShort.map(({ location }) => taskGroupPath(location)));
    const message = 'the node stopped before the savepoint was committed; the task group is ended';
    return {
      interrupted: pending.flatMap((operation) => {
        const { request } = operation.pending;
        const isLost =
          request.verb === 'cancel-task-group' &&
          request.savepoint &&
          failed.has(taskGroupPath(request.location));
        return isLost ? [{ operation, message }] : [];
      }),
      settled: { failedTaskGroups: cutShort.length },
    };
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    for (const timer of this.#timers) clearInterval(timer);
    this.#count();
    await Promise.all([
      ...[...this.#runs.values()].map((run) => run.stop()),
      this.#settling.stop(),
      this.#reporting.stop(),
    ]);
    await this.#pool.close();
    this.options.coordinator.close();
  }

  async #deploy(request: DeployTaskGroup, context: EffectContext): Promise<void> {
    const before = this.#records.get(request.location);
    const run = this.#start(request, context.epoch);
    try {
      await context.midway();
    } catch (error) {
      if (run !== undefined && error instanceof Interrupted && error.by === 'CANCELED') {
        await this.#undo(run, request.location, before);
      }
      throw error;
    }
  }

  /** Ends what a deployment started, so that a new attempt starts it again; nobody is told of it. */
  async #undo(
    run: TaskGroupRun,
    location: TaskGroupLocation,
    before: TaskGroupRecord | undefined,
  ): Promise<void> {
    this.#undone.add(run);
    await run.cancel();
    if (before === undefined) this.#records.remove(location);
    else {
      this.#records.put(before);
      this.#ended(before);
    }
  }

  /** Check and start are one step: nothing else happens in between. Answers what was started, if anything was. */
  #start(request: DeployTaskGroup, execution: number): TaskGroupRun | undefined {
    const { location, owner, restore, sink } = request;
    const path = taskGroupPath(location);
    const active = this.#runs.get(path);
    if (active !== undefined && active.execution !== execution) {
      const message = `execution ${active.execution} of ${path} is active: cancel it first`;
      throw new EffectError('ALREADY_EXISTS', message);
    }
    // It had been started: it is at work, or how it ended is in its record.
    if (active !== undefined || this.#records.get(location)?.execution === execution) return undefined;
    const record: TaskGroupRecord = {
      location,
      owner,
      execution,
      state: 'RUNNING',
      rowsIn: restore?.rowsIn ?? 0,
      rowsOut: restore?.rowsOut ?? 0,
      checkpointId: restore?.checkpointId ?? 0,
      directory: sink.directory,
    };
    const log = this.#logOf(record);
    this.#records.put(record);
    log.info({ restored: restore?.checkpointId }, 'task group deployed');
    const { coordinator, faults, savepointLimitMs } = this.options;
    const deps = {
      records: this.#records,
      pool: this.#pool,
      coordinator,
      faults,
      scratch: this.#scratch,
      savepointLimitMs,
      log,
    };
    const superseded = Promise.all([this.#settling.callOff(path), this.#reporting.callOff(path)]);
    const run = new TaskGroupRun(
      record,
      request,
      deps,
      superseded.then(() => undefined),
    );
    this.#runs.set(path, run);
    void run.ended.then((ended) => {
      this.#runs.delete(path);
      if (ended !== undefined && !this.#undone.has(run)) this.#ended(ended);
    });
    return run;
  }

  async #cancel({ location, savepoint }: CancelTaskGroup, context: EffectContext): Promise<void> {
    const run = this.#runs.get(taskGroupPath(location));
    await context.midway();
    if (run === undefined || run.execution > context.epoch) return;
    try {
      if (savepoint) await run.savepoint(context.signal);
    } catch (error) {
      if (error instanceof Interrupted) throw error;
      await run.cancel();
      const message = `${(error as Error).message}; the task group is ended`;
      throw new EffectError('INTERNAL', message, { cause: error });
    }
    await run.cancel();
  }

  /** What is still owed for a task group that is over: its checkpoint is settled, its end is reported. */
  #ended(record: TaskGroupRecord): void {
    if (this.#stopping) return;
    const { coordinator } = this.options;
    const log = this.#logOf(record);
    const path = taskGroupPath(record.location);
    if (record.unsettled !== undefined) {
      const deps = { coordinator, records: this.#records, log };
      this.#settling.start(path, (signal) => settleCheckpoint(record, deps, signal));
    }
    if (record.acknowledgedAtMs !== undefined) return;
    this.#reporting.start(path, async (signal) => {
      const about = { 'steward.resource': `task-group/${path}`, 'steward.epoch': record.execution };
      const answer = await inSpan('report task-group', about, () => coordinator.notify(record, signal, log));
      this.#records.change(record, (known) => ({ ...known, acknowledgedAtMs: Date.now() }));
      log.debug({ answer }, 'the coordinator has acknowledged the end');
    });
  }

  #count(): void {
    const counted = [...this.#runs.values()].flatMap((run) => {
      const record = run.withCounters();
      return record === undefined ? [] : [{ run, record }];
    });
    if (counted.length === 0) return;
    try {
      this.#records.putAll(counted.map(({ record }) => record));
      for (const { run, record } of counted) run.counted(record);
    } catch (error) {
      this.options.log.error({ err: error }, 'the progress of task groups cannot be recorded; trying again');
    }
  }

  #forget(): void {
    const before = Date.now() - this.options.retentionMs;
    try {
      this.#records.forget((record) => isOver(record) && record.acknowledgedAtMs! <= before);
    } catch (error) {
      this.options.log.error({ err: error }, 'records of task groups cannot be forgotten; trying again');
    }
  }

  get #scratch(): string {
    return join(this.options.data, 'scratch');
  }

  #logOf({ location, execution }: { location: TaskGroupLocation; execution: number }): Logger {
    const { jobId: job, pipeline, taskGroup } = location;
    const { nodeId: node } = this.options;
    return this.options.log.child({
      location: taskGroupPath(location),
      execution,
      job,
      pipeline,
      taskGroup,
      node,
    });
  }
}
