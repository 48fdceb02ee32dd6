import { callContext, onBehalfOf } from '../call-context.js';
import type { Logger } from '../log.js';
import type { Ledger } from './ledger.js';
import { isCancellable, type PendingOperation, type Progress, type Result } from './operation.js';
import { OperationSpan } from './operation-span.js';
import type { Turns } from './turns.js';

/** Why the signal of a running operation was aborted. */
export type Interruption = 'CANCELED' | 'STOPPING';

/** Thrown by an effect that was stopped at a safe point. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';

  constructor(readonly by: Interruption) {
    super(by === 'CANCELED' ? 'canceled' : 'the node is stopping');
  }
}

/** An operation from its acceptance until its end is on disk; all that time it is told as PROCESSING. */
export class LiveOperation {
  /** Resolves when the end is on disk. */
  readonly ended: Promise<void>;
  /** Settles `ended`. */
  readonly settle: () => void;
  readonly abort = new AbortController();
  /** On whose behalf it was accepted; unknown after a restart. */
  readonly caller = callContext();
  readonly span: OperationSpan;
  phase: 'QUEUED' | 'RUNNING' = 'QUEUED';
  progress: Progress;

  constructor(readonly pending: PendingOperation) {
    let settle: () => void = () => undefined;
    this.ended = new Promise((resolve) => {
      settle = resolve;
    });
    this.settle = settle;
    this.span = new OperationSpan(pending);
    this.progress = pending.progress;
  }

  /** Runs work, and all that it starts, on behalf of who wanted the operation. */
  onBehalfOfCaller<T>(work: () => T): T {
    return onBehalfOf(this.caller, () => this.span.within(work));
  }

  /** Moves the progress on; never back. */
  report(progress: Progress): void {
    this.progress = {
      done: Math.max(this.progress.done, progress.done),
      total: Math.max(this.progress.total, progress.total),
    };
  }
}

/** Does what the operation asks; throws `Interrupted` when its signal stopped it. */
export type Perform = (operation: LiveOperation) => Promise<Result>;

/**
 * Runs the operations of one resource one at a time in the order of acceptance, which is epoch order (I9); resources run
 * next to each other, as many of a verb as may have their turn. The next effect starts only when the end of the one before is on disk, so after a crash only the
 * first pending operation of a resource may have begun.
 */
export class ResourceQueues {
  readonly #live = new Map<string, LiveOperation>();
  readonly #queues = new Map<string, LiveOperation[]>();
  readonly #workers = new Set<Promise<void>>();
  #stopping = false;

  constructor(
    private readonly ledger: Ledger,
    private readonly perform: Perform,
    private readonly log: Logger,
    private readonly turns: Turns,
  ) {}

  /** How many operations are not over. */
  get size(): number {
    return this.#live.size;
  }

  /** How many of those that are not over are so. */
  count(isSo: (operation: LiveOperation) => boolean): number {
    let count = 0;
    for (const operation of this.#live.values()) if (isSo(operation)) count += 1;
    return count;
  }

  find(operationId: string): LiveOperation | undefined {
    return this.#live.get(operationId);
  }

  /** Operations of the resource that have not started and are below the epoch. */
  overtaken(resource: string, epoch: number): LiveOperation[] {
    const queue = this.#queues.get(resource) ?? [];
    return queue.filter(({ phase, pending }) => phase === 'QUEUED' && pending.epoch < epoch);
  }

  /** Takes over operations that the ledger has accepted. */
  add(operations: readonly LiveOperation[]): void {
    for (const operation of operations) {
      this.#live.set(operation.pending.id, operation);
      const queue = this.#queues.get(operation.pending.resource);
      if (queue !== undefined) {
        queue.push(operation);
        continue;
      }
      this.#queues.set(operation.pending.resource, [operation]);
      const worker = this.#work(operation.pending.resource);
      this.#workers.add(worker);
      void worker.finally(() => this.#workers.delete(worker));
    }
  }

  /** Lets go of an operation that had not started and whose end the ledger has recorded. */
  drop(operation: LiveOperation, result: Result): void {
    this.#leaveQueue(operation);
    this.#forget(operation);
    operation.span.end(result);
  }

  /** Asks an operation to end as FAIL(CANCELED); what takes something away ignores it. */
  cancel(operation: LiveOperation): void {
    if (!isCancellable(operation.pending.request)) return;
    if (operation.phase === 'RUNNING') {
      operation.abort.abort(new Interrupted('CANCELED'));
      return;
    }
    if (!this.#leaveQueue(operation)) return;
    void this.#end(operation, { state: 'FAIL', code: 'CANCELED', message: 'canceled before it started' });
  }

  /** Starts nothing more, stops what runs at its next safe point and waits for it. What is not over stays pending. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.turns.stop();
    for (const operation of this.#live.values()) operation.abort.abort(new Interrupted('STOPPING'));
    await Promise.all(this.#workers);
    for (const { span } of this.#live.values()) span.end();
  }

  async #work(resource: string): Promise<void> {
    const queue = this.#queues.get(resource)!;
    // Lets the call that accepted it go on first: no effect holds up a reply.
    await new Promise((resolve) => setImmediate(resolve));
    for (let operation = queue[0]; operation !== undefined && !this.#stopping; operation = queue[0]) {
      const { verb } = operation.pending.request;
      await this.turns.enter(verb);
      try {
        // While it waited for its turn it may have been canceled or overtaken, and is then not in the queue any more.
        if (queue[0] !== operation || this.#stopping) continue;
        operation.phase = 'RUNNING';
        operation.span.began();
        const result = await this.#run(operation);
        if (result === undefined) return;
        await this.#end(operation, result);
        queue.shift();
      } finally {
        this.turns.leave(verb);
      }
    }
    if (queue.length === 0) this.#queues.delete(resource);
  }

  async #run(operation: LiveOperation): Promise<Result | undefined> {
    try {
      return await operation.onBehalfOfCaller(() => this.perform(operation));
    } catch (error) {
      if (error instanceof Interrupted) {
        if (error.by === 'STOPPING') return undefined;
        return { state: 'FAIL', code: 'CANCELED', message: 'canceled; what had been written is removed' };
      }
      this.log.error(
        { err: error, operation: operation.pending.id },
        'an effect failed in an unforeseen way',
      );
      return { state: 'FAIL', code: 'INTERNAL', message: String(error) };
    }
  }

  async #end(operation: LiveOperation, result: Result): Promise<void> {
    await this.ledger.end(operation.pending, result, operation.progress);
    this.#forget(operation);
    const ended = { operation: operation.pending.id, ...result };
    operation.onBehalfOfCaller(() => {
      if (result.state === 'FAIL') this.log.warn(ended, 'operation failed');
      else this.log.debug(ended, 'operation done');
    });
    operation.span.end(result);
  }

  #leaveQueue(operation: LiveOperation): boolean {
    const queue = this.#queues.get(operation.pending.resource);
    const index = queue?.indexOf(operation) ?? -1;
    if (queue === undefined || index < 0) return false;
    queue.splice(index, 1);
    return true;
  }

  #forget(operation: LiveOperation): void {
    this.#live.delete(operation.pending.id);
    operation.settle();
  }
}
