import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../../log.js';
import { messageOf } from '../../message-of.js';
import { taskGroupPath } from '../../rules/operation-id.js';
import type { Faults } from '../faults.js';
import type { DeployTaskGroup } from '../operation.js';
import type { Coordinator } from './coordinator.js';
import { settled, type TaskGroupRecord, type TaskGroupState, withoutRunner } from './record.js';
import type { TaskGroupRecords } from './records.js';
import type { FromRunner, Last } from './runner/protocol.js';
import type { Runner, RunnerPool } from './runner-pool.js';
import {
  discardLower,
  discardStaging,
  partPrefix,
  prepareStaging,
  publishParts,
  stagingOf,
  syncStaging,
} from './staging.js';

export interface RunDependencies {
  readonly records: TaskGroupRecords;
  readonly pool: RunnerPool;
  readonly coordinator: Coordinator;
  readonly faults: Faults;
  /** Directory for what the pipelines need while they work. */
  readonly scratch: string;
  /** How long a savepoint may take. */
  readonly savepointLimitMs: number;
  readonly log: Logger;
}

/** Why a run ended before its pipeline did. */
class Stopped extends Error {
  override readonly name = 'Stopped';

  constructor(readonly by: 'CANCEL' | 'STALE' | 'NODE_STOP') {
    super(by);
  }
}

type Staged = Extract<FromRunner, { type: 'staged' }>;

const RETRY_WRITE_MS = 1000;

/** One execution of a task group on this node, from its record until its end is recorded. */
export class TaskGroupRun {
  /** Resolves with the recorded end; undefined when the node stopped before there was one. */
  readonly ended: Promise<TaskGroupRecord | undefined>;
  readonly #stop = new AbortController();
  readonly #faultKey: string;
  #runner: Runner | undefined;
  #rowsIn: number;
  #rowsOut: number;
  #toldAt = performance.now();
  #savepointIsWanted = false;
  /** Why nothing followed the checkpoint that was published last. */
  #last: Last;
  #checkpointing: Promise<void> = Promise.resolve();
  #isFrozen = false;

  /**
   * @param record RUNNING, and in the ledger
   * @param ready nothing of a lower execution is at work on this node any more
   */
  constructor(
    private record: TaskGroupRecord,
    private readonly request: DeployTaskGroup,
    private readonly deps: RunDependencies,
    ready: Promise<void>,
  ) {
    this.#rowsIn = record.rowsIn;
    this.#rowsOut = record.rowsOut;
    this.#faultKey = `${taskGroupPath(record.location)}@${record.execution}`;
    this.ended = this.#run(ready);
  }

  get execution(): number {
    return this.record.execution;
  }

  /** Time since a row was read or a checkpoint was committed. */
  get idleMs(): number {
    return performance.now() - this.#toldAt;
  }

  /** The record with the counters as they are now; undefined when they are those of the record. */
  withCounters(): TaskGroupRecord | undefined {
    if (this.#rowsIn === this.record.rowsIn && this.#rowsOut === this.record.rowsOut) return undefined;
    return { ...this.record, rowsIn: this.#rowsIn, rowsOut: this.#rowsOut };
  }

  /** What `withCounters` answered was recorded. */
  counted(record: TaskGroupRecord): void {
    this.record = record;
  }

  /** Ends it as CANCELED; resolves when nothing of it is at work any more. */
  async cancel(): Promise<void> {
    this.#stop.abort(new Stopped('CANCEL'));
    await this.ended;
  }

  /**
   * Has a last checkpoint committed and published, after which it ends as CANCELED. Throws when there was none, or the
   * reason of the signal.
   */
  async savepoint(signal: AbortSignal): Promise<void> {
    this.#savepointIsWanted = true;
    this.#runner?.savepoint();
    const { savepointLimitMs } = this.deps;
    const limit = AbortSignal.any([signal, AbortSignal.timeout(savepointLimitMs)]);
    const givenUp = new Promise<'given up'>((resolve) => {
      limit.addEventListener('abort', () => resolve('given up'), { once: true });
      if (limit.aborted) resolve('given up');
    });
    const ended = await Promise.race([this.ended, givenUp]);
    if (this.#last !== undefined) return;
    signal.throwIfAborted();
    if (ended === 'given up') throw new Error(`there was no savepoint within ${savepointLimitMs} ms`);
    const how = ended?.error === undefined ? '' : `: ${ended.error}`;
    throw new Error(`it ended before there was a savepoint${how}`);
  }

  /** Ends the process, and leaves the record as it is: the next start of the node finds it. */
  async stop(): Promise<void> {
    this.#stop.abort(new Stopped('NODE_STOP'));
    await this.ended;
  }

  async #run(ready: Promise<void>): Promise<TaskGroupRecord | undefined> {
    let state: Exclude<TaskGroupState, 'RUNNING'>;
    let error: string | undefined;
    try {
      await ready;
      await this.#execute();
      state = this.#last === 'savepoint' ? 'CANCELED' : 'FINISHED';
    } catch (thrown) {
      const stopped = thrown instanceof Stopped ? thrown : undefined;
      if (stopped?.by === 'NODE_STOP') return undefined;
      if (stopped?.by === 'STALE')
        this.deps.log.warn('the coordinator answers that it is stale: it is ended');
      state = stopped === undefined ? 'FAILED' : 'CANCELED';
      if (stopped === undefined) error = messageOf(thrown);
    }
    return this.#end(state, error);
  }

  /** Resolves when the last checkpoint is published. Nothing of it is at work when this settles. */
  async #execute(): Promise<void> {
    const { pool } = this.deps;
    const { signal } = this.#stop;
    const { location, execution, directory } = this.record;
    const { restore } = this.request;
    if (restore !== undefined) await publishParts(directory, restore.parts);
    await discardLower(directory, location, execution);
    await prepareStaging(directory, location, execution);
    signal.throwIfAborted();
    const runner = pool.acquire();
    this.#runner = runner;
    const { identity } = runner;
    if (identity !== undefined) this.#change((record) => ({ ...record, runner: identity }));
    let isOver = false;
    try {
      await new Promise<void>((resolve, reject) => {
        const stop = (): void => reject(signal.reason);
        signal.addEventListener('abort', stop, { once: true });
        if (signal.aborted) stop();
        this.#strike(runner, reject);
        const handlers = {
          onProgress: (rowsIn: number, rowsOut: number) => {
            this.#rowsIn = rowsIn;
            this.#rowsOut = rowsOut;
            this.#toldAt = performance.now();
            this.#strike(runner, reject);
          },
          onStaged: (staged: Staged) => {
            this.#checkpointing = this.#checkpoint(staged);
            this.#checkpointing.then(() => runner.committed(), reject);
          },
        };
        const run = runner.run(this.#spec(), handlers);
        if (this.#savepointIsWanted) runner.savepoint();
        run
          .finally(() => {
            isOver = true;
            signal.removeEventListener('abort', stop);
          })
          .then(resolve, reject);
      });
    } finally {
      this.#runner = undefined;
      if (isOver && !this.#isFrozen) pool.release(runner);
      else await runner.kill();
      await this.#checkpointing.catch(() => undefined);
      // A process that was killed could not do it.
      await rm(this.#scratch, { recursive: true, force: true });
    }
  }

  get #scratch(): string {
    return join(this.deps.scratch, partPrefix(this.record.location, this.record.execution));
  }

  #spec(): Parameters<Runner['run']>[0] {
    const { source, transform, sink, parallelism, checkpointIntervalMs, restore } = this.request;
    const { location, execution, directory } = this.record;
    return {
      source,
      transform,
      format: sink.format,
      parallelism,
      ...(checkpointIntervalMs === undefined ? {} : { checkpointIntervalMs }),
      ...(restore === undefined ? {} : { restore }),
      directory,
      staging: stagingOf(location, execution),
      prefix: partPrefix(location, execution),
      scratch: this.#scratch,
    };
  }

  /**
   * Commits and publishes what is staged. That it is under way is in the ledger before the coordinator hears of it: after
   * that only the coordinator's answer says whether the parts may be thrown away.
   */
  async #checkpoint({ checkpoint, last }: Staged): Promise<void> {
    const { coordinator, log } = this.deps;
    const { signal } = this.#stop;
    const { directory } = this.record;
    const { checkpointId, parts } = checkpoint;
    await syncStaging(directory, parts);
    signal.throwIfAborted();
    const unsettled = { checkpoint, last: last !== undefined };
    this.#change((record) => ({ ...record, unsettled }));
    await this.#strikeAt('commit-checkpoint');
    if ((await coordinator.commit(this.record, unsettled, signal, log)) === 'stale') {
      this.#change(settled);
      throw new Stopped('STALE');
    }
    await this.#strikeAt('publish-checkpoint');
    await publishParts(directory, parts);
    this.#toldAt = performance.now();
    this.#last = last;
    this.#change((record) => ({
      ...settled(record),
      checkpointId,
      rowsIn: checkpoint.rowsIn,
      rowsOut: checkpoint.rowsOut,
    }));
    log.debug({ checkpointId, parts: parts.length, last }, 'checkpoint committed and published');
  }

  async #end(
    state: Exclude<TaskGroupState, 'RUNNING'>,
    error: string | undefined,
  ): Promise<TaskGroupRecord | undefined> {
    const { log } = this.deps;
    const { location, execution, directory, unsettled } = this.record;
    if (unsettled === undefined) {
      await discardStaging(directory, location, execution).catch((err: unknown) =>
        log.error({ err }, 'cannot throw away what was staged'),
      );
    }
    const end = {
      state,
      endedAtMs: Date.now(),
      rowsIn: this.#rowsIn,
      rowsOut: this.#rowsOut,
      ...(error === undefined ? {} : { error }),
    };
    for (;;) {
      try {
        this.#change((record) => ({ ...withoutRunner(record), ...end }));
        break;
      } catch (err) {
        log.error({ err }, 'the ledger cannot be written; trying again');
        await sleep(RETRY_WRITE_MS);
      }
    }
    const told = { ...end, checkpointId: this.record.checkpointId };
    if (state === 'FAILED') log.warn(told, `task group failed: ${error}`);
    else log.info(told, `task group is ${state}`);
    return this.record;
  }

  #change(change: (record: TaskGroupRecord) => TaskGroupRecord): void {
    const changed = this.deps.records.change(this.record, change);
    if (changed === undefined) throw new Error(`another execution took over the record of ${this.#faultKey}`);
    this.record = changed;
  }

  /** A batch that is delayed stands still as a process that hangs does: it answers nothing and can only be killed. */
  #strike(runner: Runner, fail: (error: Error) => void): void {
    const strike = this.deps.faults.strikeEffect('run-task-group', this.#faultKey);
    if (strike.fail !== undefined) fail(new Error(strike.fail.message));
    if (strike.delayMs <= 0) return;
    this.#isFrozen = true;
    runner.freeze();
    const thaw = (): void => {
      this.#isFrozen = false;
      runner.thaw();
    };
    this.deps.faults.hold(strike.delayMs, this.#stop.signal, strike.cleared).then(thaw, () => undefined);
  }

  async #strikeAt(point: 'commit-checkpoint' | 'publish-checkpoint'): Promise<void> {
    const { faults } = this.deps;
    const strike = faults.strikeEffect(point, this.#faultKey);
    await faults.hold(strike.delayMs, this.#stop.signal, strike.cleared);
    if (strike.fail !== undefined) throw new Error(strike.fail.message);
  }
}
