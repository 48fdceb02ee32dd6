import { randomUUID } from 'node:crypto';
import { copyFileSync, existsSync, renameSync, rmSync, statSync, truncateSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { durationMs } from '@bufbuild/protobuf/wkt';
import { flushPath } from '../durable-file.js';
import type { Logger } from '../log.js';
import { messageOf } from '../message-of.js';
import { isAlive, type ProcessIdentity } from '../process-identity.js';
import type { Credentials } from '../rpc/credentials.js';
import { annotate, inSpan } from '../tracing/tracing.js';
import { PARTIAL } from '../warehouse/whole-files.js';
import { CoordinatorLink, Refused, ToldToEnd } from './coordinator-link.js';
import { MergeError, Merger } from './merge.js';
import { type MergeFault, MergeFaults } from './merge-faults.js';
import type { OptimizerOptions } from './options.js';
import { completionOf, Outbox, type OutboxEntry } from './outbox.js';
import type { Place } from './place.js';
import type { HoldPoint } from './properties.js';
import { type RunningTask, RunningTasks } from './running-tasks.js';
import { fileNameOf, type MergeTask, pathInTable, resultMessage, type TaskResult, taskFrom } from './task.js';

/** Merges that are nearly done are let finish; the node waits a little longer before it kills. */
const FINISH_MS = 1500;
/** An interrupted merge lets go within milliseconds, unless the disk hangs. */
const INTERRUPT_MS = 1000;
/** For results that a process which is told to end still has. */
const HAND_IN_MS = 1000;
/** How soon a process notices that its place is not its own any more, or that the one it shall end with is gone. */
const WATCH_MS = 500;
/** A delay that was cleared ends so soon. */
const FAULT_LOOK_MS = 50;
const DEFAULT_POLL_MS = 1000;
const SHORTEST_POLL_MS = 10;
const LOG_LIMIT_BYTES = 10 * 1024 * 1024;

/** Why an optimizer ended. */
export type End = 'STOPPED' | 'TOLD_TO_END' | 'NOT_WANTED' | 'LEFT_ALONE';

/** Thrown by work that was given up because the process ends; the next process finds its marker. */
class Abandoned extends Error {
  override readonly name = 'Abandoned';
}

/**
 * Polls tasks, merges, and delivers results, `threads` at a time.
 *
 * What it did is never lost and never done twice: a result is in the outbox before the coordinator hears of it, and leaves
 * it when the coordinator has answered; a task that a process before this one had begun gets a result, too. So the order
 * of the files of one task on disk is: marker, temporary output, output, outbox, marker gone, outbox gone.
 */
export class Optimizer {
  /** Settles when everything has ended. */
  readonly ended: Promise<End>;
  readonly #outbox: Outbox;
  readonly #running: RunningTasks;
  readonly #link: CoordinatorLink;
  /** Aborted when nothing new shall begin. */
  readonly #closing = new AbortController();
  /** Aborted when what is under way shall be given up. */
  readonly #abandon = new AbortController();
  readonly #faults: MergeFaults | undefined;
  readonly #inHand = new Set<string>();
  #end: End = 'STOPPED';

  private constructor(
    private readonly options: OptimizerOptions,
    private readonly place: Place,
    private readonly self: ProcessIdentity,
    private readonly merger: Merger,
    credentials: Credentials,
    private readonly log: Logger,
  ) {
    this.#outbox = new Outbox(place.outbox, log);
    this.#running = new RunningTasks(place.running, log);
    this.#faults = options.faults === undefined ? undefined : new MergeFaults(options.faults);
    this.#outbox.open();
    this.#running.open();
    this.#link = new CoordinatorLink(options, credentials, log);
    this.ended = this.#run();
  }

  /** Begins to work; the place belongs to this process. */
  static async start(
    options: OptimizerOptions,
    place: Place,
    self: ProcessIdentity,
    credentials: Credentials,
    log: Logger,
  ): Promise<Optimizer> {
    const merger = await Merger.open({ ...options, spill: place.spill });
    return new Optimizer(options, place, self, merger, credentials, log);
  }

  /** Takes no more tasks, lets merges finish for a moment, then gives them up. */
  stop(end: End = 'STOPPED', finishMs = FINISH_MS): void {
    if (this.#closing.signal.aborted) return;
    this.#end = end;
    this.#closing.abort(new Abandoned());
    setTimeout(() => this.#abandon.abort(new Abandoned()), finishMs).unref();
  }

  async #run(): Promise<End> {
    const watch = setInterval(() => this.#watch(), WATCH_MS);
    try {
      await this.#work();
    } catch (error) {
      if (error instanceof ToldToEnd) {
        this.log.warn({ reason: error.message }, 'the coordinator says that this optimizer shall end');
        this.stop('TOLD_TO_END', 0);
      } else if (!(error instanceof Abandoned)) throw error;
    } finally {
      clearInterval(watch);
      this.#abandon.abort(new Abandoned());
      if (this.#end === 'TOLD_TO_END' || this.#end === 'NOT_WANTED') await this.#handIn();
      this.#link.close();
      if (this.#inHand.size === 0) this.merger.close();
    }
    return this.#end;
  }

  async #work(): Promise<void> {
    for (const cutShort of this.#running.list()) await this.#settle(cutShort);
    await this.#link.register(this.#closing.signal);
    const parts = [this.#beat(), this.#deliverThenPoll()];
    // The first that fails ends them all; what the others have under way is let go of by the signals.
    try {
      await Promise.all(parts);
    } catch (error) {
      if (error instanceof ToldToEnd) this.stop('TOLD_TO_END', 0);
      await Promise.race([Promise.allSettled(parts), pause(INTERRUPT_MS)]);
      throw error;
    }
  }

  async #deliverThenPoll(): Promise<void> {
    for (const entry of this.#outbox.list()) await this.#deliver(entry);
    await Promise.all(Array.from({ length: this.options.threads }, () => this.#thread()));
  }

  async #beat(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      await pause(this.#link.heartbeatMs, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      await this.#link.heartbeat(signal).catch((error: unknown) => {
        if (!(error instanceof Abandoned)) throw error;
      });
    }
  }

  async #thread(): Promise<void> {
    while (!this.#closing.signal.aborted) {
      try {
        const reply = await this.#link.call(this.#closing.signal, (service, token, options) =>
          service.pollTask({ token }, options),
        );
        if (reply.task !== undefined && (await this.#take(taskFrom(reply.task)))) continue;
        const told = reply.retryAfter === undefined ? 0 : durationMs(reply.retryAfter);
        await this.#rest(told > 0 ? Math.max(told, SHORTEST_POLL_MS) : DEFAULT_POLL_MS);
      } catch (error) {
        if (error instanceof Abandoned) return;
        if (!(error instanceof Refused)) throw error;
        this.log.error({ err: error }, 'the coordinator refuses the call; trying again');
        await this.#rest(DEFAULT_POLL_MS);
      }
    }
  }

  /** Does a task to its end; answers false when there was nothing to do for this thread. */
  async #take(task: MergeTask): Promise<boolean> {
    let name: string;
    try {
      name = fileNameOf(task);
    } catch (error) {
      this.log.error({ err: error, task: task.taskId }, 'a task that cannot be kept; left to others');
      return false;
    }
    if (this.#inHand.has(name)) return false;
    this.#inHand.add(name);
    try {
      const about = { 'steward.task': task.taskId, 'steward.attempt': task.attempt };
      await inSpan('merge', about, () => this.#carryOut(task));
      return true;
    } finally {
      this.#inHand.delete(name);
    }
  }

  async #carryOut(task: MergeTask): Promise<void> {
    const { taskId, attempt, location } = task;
    const running = { task, process: this.self, temporary: temporaryOf(task) };
    // Before the acknowledgement: from then on the node must be able to tell that it is being worked on.
    this.#running.put(running);
    if (!(await this.#acknowledge(task))) {
      this.#running.remove(task);
      return;
    }
    let entry = this.#outbox.find(task);
    if (entry === undefined) {
      await this.#hold('acked');
      entry = { taskId, attempt, location, result: await this.#merge(running) };
      annotate({ 'steward.outcome': 'error' in entry.result ? 'FAIL' : 'SUCCESS' });
      await this.#hold('renamed');
      this.#outbox.put(entry);
    }
    this.#running.remove(task);
    await this.#hold('recorded');
    await this.#deliver(entry);
  }

  /** False: it was planned again meanwhile. */
  async #acknowledge({ taskId, attempt }: MergeTask): Promise<boolean> {
    try {
      await this.#link.call(this.#abandon.signal, (service, token, options) =>
        service.ackTask({ token, taskId, attempt }, options),
      );
      return true;
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.log.info({ task: taskId, attempt, reason: error.message }, 'task dropped before it was begun');
      return false;
    }
  }

  /** The result, good or bad; the output has its name when this resolves. */
  async #merge({ task, temporary }: Pick<RunningTask, 'task' | 'temporary'>): Promise<TaskResult> {
    const { taskId, attempt, inputs } = task;
    const began = performance.now();
    try {
      const failure = await this.#disturb(task);
      if (failure?.afterEffect === false) throw new MergeError(failure.message);
      const output = await this.merger.merge(task, temporary, this.#abandon.signal);
      await this.#hold('merged');
      const target = pathInTable(task.location, task.output);
      renameSync(temporary, target);
      flushPath(dirname(target));
      if (failure !== undefined) throw new MergeError(failure.message);
      const ms = Math.round(performance.now() - began);
      const { rows, bytes } = output;
      this.log.info({ task: taskId, attempt, inputs: inputs.length, rows, bytes, ms }, 'merge done');
      return { outputs: [output] };
    } catch (error) {
      this.#abandon.signal.throwIfAborted();
      const reason = messageOf(error);
      const foreseen = error instanceof MergeError ? {} : { err: error };
      this.log.warn({ task: taskId, attempt, inputs: inputs.length, reason, ...foreseen }, 'merge failed');
      return { error: reason };
    }
  }

  /**
   * Gives a task that a process before this one had begun its result: the output when that had its name already, else an
   * error, so that the coordinator plans it again at once instead of finding out.
   */
  async #settle({ task, temporary, process }: RunningTask): Promise<void> {
    if (isAlive(process)) return;
    const { taskId, attempt, location } = task;
    if (this.#outbox.find(task) === undefined) {
      if (temporary !== '') rmSync(temporary, { force: true });
      const result = (await this.#found(task)) ?? { error: 'the optimizer ended while it merged' };
      this.#outbox.put({ taskId, attempt, location, result });
      const what = 'error' in result ? 'a task was cut short' : 'the output of a task was found whole';
      this.log.info({ task: taskId, attempt }, what);
    }
    this.#running.remove(task);
  }

  /** The output that has its name was counted and flushed before it got that. */
  async #found(task: MergeTask): Promise<TaskResult | undefined> {
    if (!isOutputInTable(task)) return undefined;
    const file = pathInTable(task.location, task.output);
    if (!existsSync(file)) return undefined;
    const rows = await this.merger.countRows(file);
    if (rows === undefined || rows !== task.inputs.reduce((sum, input) => sum + input.rows, 0))
      return undefined;
    return { outputs: [{ path: task.output, rows, bytes: statSync(file).size }] };
  }

  /**
   * The place is not for this process any more: what is in the outbox goes to the coordinator in the name of the resource,
   * while somebody has it. What is not answered soon stays there.
   */
  async #handIn(): Promise<void> {
    const signal = AbortSignal.timeout(HAND_IN_MS);
    try {
      for (const entry of this.#outbox.list()) {
        await this.#conclude(entry, () =>
          this.#link.complete(signal, completionOf(this.options.resourceId, entry)),
        );
      }
    } catch (error) {
      if (!signal.aborted && !(error instanceof ToldToEnd)) throw error;
      this.log.warn({ left: this.#outbox.size }, 'no coordinator took the results; kept');
    }
  }

  /** Tells the coordinator until it has answered, then forgets. */
  async #deliver(entry: OutboxEntry): Promise<void> {
    const { taskId, attempt, result } = entry;
    await this.#conclude(entry, async () => {
      await this.#link.call(this.#abandon.signal, (service, token, options) =>
        service.completeTask({ token, taskId, attempt, result: resultMessage(result) }, options),
      );
      await this.#hold('completed');
    });
  }

  /** Forgets a result that the coordinator was told, or one that it does not want. */
  async #conclude(entry: OutboxEntry, tell: () => Promise<void>): Promise<void> {
    const { taskId, attempt } = entry;
    try {
      await tell();
      this.#outbox.remove(entry);
      this.log.info({ task: taskId, attempt }, 'result is on record');
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      if (!error.stale) {
        this.log.error(
          { err: error, task: taskId, attempt },
          'the coordinator does not understand the result; kept',
        );
        return;
      }
      this.log.info(
        { task: taskId, attempt, reason: error.message },
        'result is stale; dropped with its output',
      );
      this.#dropOutputs(entry);
      this.#outbox.remove(entry);
    }
  }

  #dropOutputs({ location, result }: OutboxEntry): void {
    if ('error' in result) return;
    for (const { path } of result.outputs) rmSync(pathInTable(location, path), { force: true });
  }

  /** Waits as properties and faults say; answers the failure that they want. */
  async #disturb({ taskId, attempt }: MergeTask): Promise<MergeFault['fail']> {
    const { mergeDelayMs, mergeError } = this.options.disturbance;
    if (mergeDelayMs > 0) await this.#wait(mergeDelayMs);
    if (mergeError !== undefined) return { message: mergeError, afterEffect: false };
    for (const { id, delayMs, fail } of this.#faults?.take(`${taskId}@${attempt}`) ?? []) {
      const until = performance.now() + delayMs;
      while (performance.now() < until && this.#faults?.isSet(id)) await this.#wait(FAULT_LOOK_MS);
      if (fail !== undefined) return fail;
    }
    return undefined;
  }

  /** Stays here when the properties say so. */
  async #hold(point: HoldPoint): Promise<void> {
    if (this.options.disturbance.holdAt !== point) return;
    this.log.info({ point }, 'holding');
    await this.#wait(2 ** 31 - 1);
  }

  async #wait(ms: number): Promise<void> {
    const { signal } = this.#abandon;
    await pause(ms, undefined, { signal }).catch(() => undefined);
    signal.throwIfAborted();
  }

  async #rest(ms: number): Promise<void> {
    await pause(ms, undefined, { signal: this.#closing.signal }).catch(() => undefined);
  }

  #watch(): void {
    const { launch, exitWith } = this.options;
    if (!this.place.wants(launch)) {
      this.log.info('another launch, or none, is wanted here');
      this.stop('NOT_WANTED', 0);
    } else if (exitWith !== undefined && !isAlive(exitWith)) {
      this.log.info({ pid: exitWith.pid }, 'the process to end with is gone');
      this.stop('LEFT_ALONE', 0);
    }
    boundLog(this.place.log);
  }
}

/**
 * Next to the output, so that it can be renamed; different for each process and attempt. Empty for an output that is
 * nowhere in the table: the merge says so, before it writes anything.
 */
function temporaryOf(task: MergeTask): string {
  return isOutputInTable(task) ? `${pathInTable(task.location, task.output)}.${randomUUID()}${PARTIAL}` : '';
}

function isOutputInTable({ location, output }: MergeTask): boolean {
  try {
    pathInTable(location, output);
    return true;
  } catch {
    return false;
  }
}

/** The log is open for appending, in this process alone: what it holds can be moved away under it. */
function boundLog(file: string): void {
  if ((statSync(file, { throwIfNoEntry: false })?.size ?? 0) <= LOG_LIMIT_BYTES) return;
  copyFileSync(file, `${file}.1`);
  truncateSync(file);
}
