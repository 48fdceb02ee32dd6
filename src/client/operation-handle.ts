import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { WorkflowHandle } from '@temporalio/client';
import type { Holder } from '../rules/words.js';
import { describeHolder, StewardError } from './errors.js';
import type { OperationDescription } from './model.js';
import type { Temporal } from './temporal.js';

export interface WaitOptions {
  /** Gives the waiting up after this; absent: waits for as long as it takes. */
  readonly timeoutMs?: number | undefined;
  /** Gives the waiting up. */
  readonly signal?: AbortSignal | undefined;
}

export interface WatchOptions {
  /** Between two looks; 500 by default. */
  readonly intervalMs?: number | undefined;
  /** Ends the watching. */
  readonly signal?: AbortSignal | undefined;
}

const WATCH_INTERVAL_MS = 500;

/** What ends an operation whose claim was taken over (I5). */
export interface Superseded {
  readonly outcome: 'SUPERSEDED';
  readonly by: Holder;
}

/** What ends an operation that was asked to end early, and did. */
export interface Canceled {
  readonly outcome: 'CANCELED';
}

/** How an operation ends as it was asked for; its handle throws SUPERSEDED and CANCELED. */
export type Ended<T> = Exclude<T, Superseded | Canceled>;

/**
 * An operation that was started. It goes on by itself: nothing here needs to be awaited, and another process may look at
 * it by its id.
 */
export class OperationHandle<T> {
  constructor(
    /** The id of its workflow. */
    readonly operationId: string,
    /** The first run of its chain. */
    readonly runId: string,
    /** It ran already when it was asked for. */
    readonly attached: boolean,
    private readonly temporal: Temporal,
    private readonly workflow: WorkflowHandle,
    private readonly look: () => Promise<OperationDescription>,
  ) {}

  /**
   * Waits for the end.
   *
   * @throws StewardError HELD, REJECTED, NOT_FOUND, INVALID_INPUT when it was not begun; INCOMPLETE; SUPERSEDED with the
   * holder that took over; CANCELED; FAILED; TIMED_OUT when the waiting was given up, UNAVAILABLE when Temporal has been
   * away for 20 s: the operation goes on
   */
  async result({ timeoutMs, signal }: WaitOptions = {}): Promise<T> {
    const result = await this.#resultWithin(timeoutMs, signal);
    if (outcomeOf(result) === 'CANCELED') {
      throw new StewardError('CANCELED', `${this.operationId} was cancelled`, { details: result });
    }
    const superseded = supersededBy(result);
    if (superseded === undefined) return result as T;
    throw new StewardError(
      'SUPERSEDED',
      `${this.operationId} was taken over by ${describeHolder(superseded)}`,
      {
        holder: superseded,
        details: result,
      },
    );
  }

  async #resultWithin(timeoutMs: number | undefined, signal: AbortSignal | undefined): Promise<unknown> {
    const limit = new AbortController();
    // Every long poll of Temporal's client adds one.
    setMaxListeners(0, limit.signal);
    const givenUp = new Promise<never>((_, reject) => {
      limit.signal.addEventListener('abort', () =>
        reject(
          new StewardError(
            'TIMED_OUT',
            `${this.operationId} goes on; look at it with: steward operation show ${this.operationId}`,
          ),
        ),
      );
    });
    const giveUp = () => limit.abort();
    const timer = timeoutMs === undefined ? undefined : setTimeout(giveUp, timeoutMs);
    signal?.addEventListener('abort', giveUp);
    if (signal?.aborted) giveUp();
    try {
      // Temporal's client takes no note of a signal between two long polls: hence the race.
      return await Promise.race([
        givenUp,
        this.temporal.ask((client) => client.withAbortSignal(limit.signal, () => this.workflow.result())),
      ]);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', giveUp);
    }
  }

  /** How it stands now. */
  describe(): Promise<OperationDescription> {
    return this.look();
  }

  /**
   * Tells how it stands now, and again at every interval, until it is closed; the last call tells the end. A server that
   * is away for a moment is asked again. Resolves when it is closed, or the signal ends the watching.
   */
  async watch(
    onProgress: (description: OperationDescription) => void,
    { intervalMs = WATCH_INTERVAL_MS, signal }: WatchOptions = {},
  ): Promise<void> {
    const ended = () => signal?.aborted === true;
    while (!ended()) {
      const description = await this.look().catch(unlessUnavailable);
      if (ended()) return;
      if (description !== undefined) onProgress(description);
      if (description?.closedAt !== undefined) return;
      await sleep(intervalMs, undefined, { signal }).catch(() => {});
    }
  }
}

function unlessUnavailable(error: unknown): undefined {
  if (error instanceof StewardError && error.code === 'UNAVAILABLE') return undefined;
  throw error;
}

/** Who took over, when that is how an operation ended. */
export function supersededBy(result: unknown): Holder | undefined {
  return outcomeOf(result) === 'SUPERSEDED' ? (result as Superseded).by : undefined;
}

/** The word for how a workflow ended, when its result has one. */
export function outcomeOf(result: unknown): unknown {
  return (result as { outcome?: unknown } | null | undefined)?.outcome;
}
