import { Code, type ConnectError } from '@connectrpc/connect';
import type { FAILURE } from '../rules/failure-types.js';
import { InvalidInput } from '../rules/input.js';
import type { Holder } from '../rules/words.js';

/**
 * What a caller does next, as a word:
 *
 * | code | what it means | what helps |
 * | --- | --- | --- |
 * | INVALID_INPUT | a field is wrong; nothing was sent or done (I10) | change the field that the message names |
 * | NOT_FOUND | it was never there, or is gone | list what there is |
 * | ALREADY_EXISTS | it is there already | use it |
 * | HELD | a live workflow holds it: `holder` (I5) | wait for the holder, or look at it |
 * | REJECTED | it cannot be done as asked; `details` is the reason's code | ask for something else |
 * | INCOMPLETE | some region groups missed their quorum; `details` has the outcome of each | see why, ask again |
 * | SUPERSEDED | another workflow took over: `holder` (I5) | wait for the holder |
 * | UNAVAILABLE | a server cannot be reached; what was asked may or may not have happened | ask again |
 * | CANCELED | it was cancelled or terminated | start it again |
 * | FAILED | anything else; the message is the reason | |
 * | TIMED_OUT | waiting took too long; what is waited for goes on | look again |
 */
export type StewardErrorCode =
  | 'INVALID_INPUT'
  | 'NOT_FOUND'
  | 'ALREADY_EXISTS'
  | 'HELD'
  | 'REJECTED'
  | 'INCOMPLETE'
  | 'SUPERSEDED'
  | 'UNAVAILABLE'
  | 'CANCELED'
  | 'FAILED'
  | 'TIMED_OUT';

export interface StewardErrorOptions extends ErrorOptions {
  readonly holder?: Holder | undefined;
  readonly details?: unknown;
}

/** The one error that the client throws. */
export class StewardError extends Error {
  override readonly name = 'StewardError';
  /** The workflow that holds what was asked for, with HELD and SUPERSEDED. */
  readonly holder: Holder | undefined;
  /**
   * INVALID_INPUT: `{ field }`. REJECTED and NOT_FOUND: the reason's code, such as `UNAUTHENTICATED` or `NOT_ENOUGH_NODES`.
   * INCOMPLETE: how the creation ended, with a report of each region group that is not complete. SUPERSEDED: the result.
   */
  readonly details: unknown;

  constructor(
    readonly code: StewardErrorCode,
    message: string,
    { holder, details, ...options }: StewardErrorOptions = {},
  ) {
    super(message, options);
    this.holder = holder;
    this.details = details;
  }

  /** Translates whatever was thrown. `server` names who was asked, for the message of UNAVAILABLE. */
  static from(error: unknown, server = 'the server'): StewardError {
    if (error instanceof StewardError) return error;
    if (error instanceof InvalidInput) {
      return new StewardError('INVALID_INPUT', error.message, {
        cause: error,
        details: { field: error.field },
      });
    }
    if (!(error instanceof Error)) return new StewardError('FAILED', String(error), { cause: error });
    // By name: importing Temporal's client for `instanceof` would cost every command its start-up time.
    switch (error.name) {
      case 'ConnectError':
        return fromConnect(error as ConnectError, server);
      case 'WorkflowFailedError':
      case 'WorkflowUpdateFailedError':
      case 'ActivityFailure':
      case 'ChildWorkflowFailure':
        return error.cause instanceof Error
          ? StewardError.from(error.cause, server)
          : new StewardError('FAILED', error.message, { cause: error });
      case 'ApplicationFailure':
        return fromApplicationFailure(error as ApplicationFailureLike);
      case 'CancelledFailure':
        return new StewardError('CANCELED', 'the operation was cancelled', { cause: error });
      case 'TerminatedFailure':
        return new StewardError(
          'CANCELED',
          'the operation was terminated; what it had under way goes on at the nodes until it is started again',
          { cause: error },
        );
      case 'TimeoutFailure':
        return new StewardError('FAILED', `the operation ran out of time: ${error.message}`, {
          cause: error,
        });
      case 'WorkflowNotFoundError':
        return new StewardError(
          'NOT_FOUND',
          `operation ${(error as { workflowId?: string }).workflowId} does not exist`,
          {
            cause: error,
          },
        );
      case 'ScheduleNotFoundError':
        return new StewardError(
          'NOT_FOUND',
          `schedule ${(error as { scheduleId?: string }).scheduleId} does not exist: make it with: steward schedule ensure`,
          { cause: error },
        );
      case 'WorkflowExecutionAlreadyStartedError':
        return new StewardError('HELD', `${(error as { workflowId?: string }).workflowId} runs already`, {
          cause: error,
        });
      case 'NamespaceNotFoundError':
        return new StewardError(
          'NOT_FOUND',
          `${server} has no namespace ${(error as { namespace?: string }).namespace}: create it, or set TEMPORAL_NAMESPACE`,
          { cause: error },
        );
      case 'ServiceError':
        return fromService(error, server);
      default:
        return new StewardError('FAILED', error.message, { cause: error });
    }
  }

  /** For `JSON.stringify`: `{ code, message, holder?, details? }`. */
  toJSON(): { code: StewardErrorCode; message: string; holder?: Holder; details?: unknown } {
    return {
      code: this.code,
      message: this.message,
      ...(this.holder && { holder: this.holder }),
      ...(this.details !== undefined && { details: this.details }),
    };
  }
}

/** A holder as a person is told of it. */
export function describeHolder({ workflowType, workflowId, actor, since }: Holder): string {
  return `${workflowType} ${workflowId} of ${actor} since ${since}`;
}

interface ApplicationFailureLike extends Error {
  readonly type?: string | null;
  readonly details?: readonly unknown[] | null;
}

type FailureType = (typeof FAILURE)[keyof typeof FAILURE];

const FAILURE_CODES = {
  InvalidInput: 'INVALID_INPUT',
  Held: 'HELD',
  Rejected: 'REJECTED',
  RegionGroupsIncomplete: 'INCOMPLETE',
  NotCancellable: 'REJECTED',
  JobFailed: 'FAILED',
} as const satisfies Record<FailureType, StewardErrorCode>;

function fromApplicationFailure(failure: ApplicationFailureLike): StewardError {
  const code = FAILURE_CODES[failure.type as FailureType] as (typeof FAILURE_CODES)[FailureType] | undefined;
  const [details] = failure.details ?? [];
  switch (code) {
    case 'INVALID_INPUT':
      return new StewardError(code, failure.message, { cause: failure, details: { field: details } });
    case 'HELD':
      return new StewardError(code, `${failure.message}: wait until it ends, or look at it`, {
        cause: failure,
        holder: details as Holder,
      });
    case 'REJECTED':
      return new StewardError(String(details).endsWith('_NOT_FOUND') ? 'NOT_FOUND' : code, failure.message, {
        cause: failure,
        details,
      });
    case 'INCOMPLETE':
    case 'FAILED':
    case undefined:
      return new StewardError(code ?? 'FAILED', failure.message, { cause: failure, details });
  }
}

const CONNECT_CODES: Partial<Record<Code, StewardErrorCode>> = {
  [Code.InvalidArgument]: 'INVALID_INPUT',
  [Code.NotFound]: 'NOT_FOUND',
  [Code.AlreadyExists]: 'ALREADY_EXISTS',
  [Code.FailedPrecondition]: 'REJECTED',
  [Code.Unauthenticated]: 'REJECTED',
  [Code.Unavailable]: 'UNAVAILABLE',
  [Code.DeadlineExceeded]: 'UNAVAILABLE',
  [Code.Aborted]: 'UNAVAILABLE',
  [Code.ResourceExhausted]: 'UNAVAILABLE',
};

function fromConnect(error: ConnectError, server: string): StewardError {
  const code = CONNECT_CODES[error.code] ?? 'FAILED';
  if (error.code === Code.Unauthenticated) {
    const message = `${server} and this program do not trust each other: ${error.rawMessage}`;
    return new StewardError(code, message, { cause: error, details: 'UNAUTHENTICATED' });
  }
  if (code !== 'UNAVAILABLE') return new StewardError(code, error.rawMessage, { cause: error });
  const message =
    error.code === Code.DeadlineExceeded
      ? `${server} did not answer in time: ask again`
      : `${server} cannot be reached (${error.rawMessage}): see whether it runs`;
  return new StewardError(code, message, { cause: error });
}

/** gRPC status codes, as Temporal's client reports them. */
const GRPC_CODES: Readonly<Record<number, StewardErrorCode>> = {
  1: 'TIMED_OUT',
  3: 'INVALID_INPUT',
  5: 'NOT_FOUND',
  7: 'REJECTED',
  16: 'REJECTED',
};

/** It was reached, and answered: a query of a workflow that no worker runs, for example. */
const FAILED_PRECONDITION = 9;

function fromService(error: Error, server: string): StewardError {
  const cause = error.cause as (Error & { code?: number; details?: string }) | undefined;
  const reason = cause?.details || cause?.message || error.message;
  const code = GRPC_CODES[cause?.code ?? -1] ?? 'UNAVAILABLE';
  return new StewardError(
    missesAttributes(reason) ? 'UNAVAILABLE' : code,
    cause?.code === FAILED_PRECONDITION
      ? `${server} cannot do it now: ${reason}`
      : serviceMessage(code, reason, server),
    {
      cause: error,
    },
  );
}

function serviceMessage(code: StewardErrorCode, reason: string, server: string): string {
  if (missesAttributes(reason))
    return `${reason}: a Steward worker adds it when it starts; start one, then ask again`;
  if (code === 'UNAVAILABLE') return `${server} cannot be reached (${reason}): see whether it runs`;
  if (code === 'REJECTED') return `${server} refuses these credentials: ${reason}`;
  return code === 'TIMED_OUT' ? 'waiting was given up' : reason;
}

/** A namespace that no Steward worker has served yet. */
function missesAttributes(reason: string): boolean {
  return /no mapping defined for search attribute/i.test(reason);
}
