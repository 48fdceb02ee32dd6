import { setTimeout as sleep } from 'node:timers/promises';
import {
  type ConnectionOptions,
  defaultGrpcRetryOptions,
  makeGrpcRetryInterceptor,
} from '@temporalio/client';

/** Whoever closes a connection waits for no longer than this. */
const LONGEST_DELAY_MS = 1_000;

/**
 * Retries calls of one connection as Temporal's client does, and ends with it: a retry that comes due on a closed
 * connection is thrown where nobody can catch it, and ends the process. For whoever has more to do after
 * that: a program with a client, a coordinator that takes its row out of the catalog. Whoever closes after its last answer
 * does without, as `setup` and the local stack do; so does a worker, whose process ends with the connection.
 */
export class Retries {
  #ended = false;
  /** When the last of the retries that wait is due, by the clock of `performance`. */
  #lastDueMs = 0;

  /** For `Connection.connect`. */
  get interceptors(): NonNullable<ConnectionOptions['interceptors']> {
    const { retryableDecider, delayFunction } = defaultGrpcRetryOptions();
    return [
      makeGrpcRetryInterceptor({
        retryableDecider: (attempt, status) => !this.#ended && retryableDecider(attempt, status),
        delayFunction: (attempt, status) => {
          const delayMs = Math.min(delayFunction(attempt, status), LONGEST_DELAY_MS);
          this.#lastDueMs = Math.max(this.#lastDueMs, performance.now() + delayMs);
          return delayMs;
        },
      }),
    ];
  }

  /** From its end on nothing is retried, and no retry waits: the connection may be closed. */
  async end(): Promise<void> {
    this.#ended = true;
    const waitMs = this.#lastDueMs - performance.now();
    // Timers may be a millisecond early.
    if (waitMs > 0) await sleep(Math.ceil(waitMs) + 1);
  }
}
