import {
  ApplicationFailure,
  allHandlersFinished,
  CancellationScope,
  CancelledFailure,
  condition,
  defineUpdate,
  isCancellation,
  setHandler,
} from '@temporalio/workflow';
import { FAILURE } from '../../src/rules/failure-types.js';
import { wasCancelled } from '../was-cancelled.js';

/** Asks a running operation to end early. Rejected, with the reason, when it is past its point of no return. */
export const cancelOperation = defineUpdate<void, []>('cancel');

/** A claim that was cancelled before it was made, and never will be. */
export interface ClaimCanceled {
  readonly kind: 'CANCELED';
  readonly cancellation: unknown;
}

/** The part of a workflow that an Update or a cancellation of the workflow can end early. */
export class Cancellable {
  readonly #scope = new CancellationScope();
  #passed: string | undefined;
  /** The work was told to end, and has: only then is a cancellation answered. */
  #ended = false;

  constructor() {
    setHandler(
      cancelOperation,
      async () => {
        this.#scope.cancel();
        await condition(() => this.#ended || this.#passed !== undefined);
        if (!this.#ended) this.#refusePassed();
      },
      { validator: () => this.#refusePassed() },
    );
  }

  /** Runs cancellable work; what it throws when it is cancelled satisfies `wasCancelled`. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await this.#scope.run(work);
    } catch (error) {
      this.#ended = wasCancelled(error);
      throw error;
    }
  }

  /** From here on a cancellation is refused, with the reason. */
  pass(reason: string): void {
    this.#passed = reason;
  }

  /**
   * Claims, and with that passes the point of no return. Cancelled before, it makes sure that the claim was not made and
   * never will be; if it was made after all, the operation goes on and the cancellation is refused.
   */
  async claimPastReturn<A>(
    claim: () => Promise<A>,
    abandon: () => Promise<'ABANDONED' | 'CLAIMED'>,
    reason: string,
  ): Promise<A | ClaimCanceled> {
    try {
      const claimed = await this.#scope.run(claim);
      if (isAbandoned(claimed)) {
        this.#ended = true;
        return { kind: 'CANCELED', cancellation: undefined };
      }
      this.pass(reason);
      return claimed;
    } catch (error) {
      if (!wasCancelled(error)) throw error;
      return await CancellationScope.nonCancellable(async () => {
        if ((await abandon()) === 'ABANDONED') {
          this.#ended = true;
          return { kind: 'CANCELED' as const, cancellation: error };
        }
        this.pass(reason);
        return claim();
      });
    }
  }

  #refusePassed(): void {
    if (this.#passed !== undefined)
      throw ApplicationFailure.nonRetryable(this.#passed, FAILURE.NOT_CANCELLABLE, 'NOT_CANCELLABLE');
  }
}

/** The claim was abandoned in a workflow task that failed afterwards: the cancellation is all that is left of it. */
function isAbandoned(answer: unknown): boolean {
  return (answer as { readonly code?: unknown }).code === 'CLAIM_ABANDONED';
}

/** Runs `work` so that a cancellation does not reach it: it is past its point of no return. */
export function beyondCancellation<T>(work: () => Promise<T>): Promise<T> {
  return CancellationScope.nonCancellable(work);
}

/** How a workflow ends that was cancelled: as CANCELED by Temporal if it was, with a result of its own after an Update. */
export async function canceled<R extends object>(
  cancellation: unknown,
  result: R,
): Promise<R & { outcome: 'CANCELED' }> {
  await condition(allHandlersFinished);
  if (CancellationScope.current().consideredCancelled) {
    throw isCancellation(cancellation) ? cancellation : new CancelledFailure('cancelled');
  }
  return { outcome: 'CANCELED', ...result };
}

/** Tells when somebody cancels this workflow where that is ignored. */
export function onIgnoredCancellation(note: () => void): void {
  CancellationScope.current().cancelRequested.catch(note);
}
