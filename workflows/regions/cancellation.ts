import {
  ApplicationFailure,
  CancellationScope,
  defineUpdate,
  isCancellation,
  setHandler,
} from '@temporalio/workflow';
import { FAILURE } from '../failures.js';

/** Asks a running operation to end early. Rejected, with the reason, when it is past its point of no return. */
export const cancelOperation = defineUpdate<void, []>('cancel');

/** The part of a workflow that an Update or a cancellation of the workflow can end early. */
export class Cancellable {
  readonly #scope = new CancellationScope();
  #passed: string | undefined;

  constructor() {
    setHandler(cancelOperation, () => this.#scope.cancel(), {
      validator: () => {
        if (this.#passed !== undefined)
          throw ApplicationFailure.nonRetryable(this.#passed, FAILURE.NOT_CANCELLABLE);
      },
    });
  }

  /** Runs cancellable work; what it throws when it is cancelled satisfies `isCancellation`. */
  run<T>(work: () => Promise<T>): Promise<T> {
    return this.#scope.run(work);
  }

  /** From here on a cancellation is refused, with the reason. */
  pass(reason: string): void {
    this.#passed = reason;
  }

  /**
   * Claims, and with that passes the point of no return. Cancelled before, it makes sure that the claim was not made and
   * never will be; if it was made after all, the operation goes on.
   */
  async claimPastReturn<A>(
    claim: () => Promise<A>,
    abandon: () => Promise<'ABANDONED' | 'CLAIMED'>,
    reason: string,
  ): Promise<A> {
    try {
      const claimed = await this.run(claim);
      this.pass(reason);
      return claimed;
    } catch (error) {
      if (!isCancellation(error)) throw error;
      return await CancellationScope.nonCancellable(async () => {
        if ((await abandon()) === 'ABANDONED') throw error;
        this.pass(reason);
        return claim();
      });
    }
  }
}

/** Runs `work` so that a cancellation does not reach it: it is past its point of no return. */
export function beyondCancellation<T>(work: () => Promise<T>): Promise<T> {
  return CancellationScope.nonCancellable(work);
}

/** How a workflow ends that was cancelled: as CANCELED by Temporal if it was, with a result of its own after an Update. */
export function canceled<R extends object>(cancellation: unknown, result: R): R & { outcome: 'CANCELED' } {
  if (CancellationScope.current().consideredCancelled) throw cancellation;
  return { outcome: 'CANCELED', ...result };
}

/** Tells when somebody cancels this workflow where that is ignored. */
export function onIgnoredCancellation(note: () => void): void {
  CancellationScope.current().cancelRequested.catch(note);
}
