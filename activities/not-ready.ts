import { ApplicationFailure, ApplicationFailureCategory } from '@temporalio/common';
import { NodeUnreachable } from '../src/engines/nodes.js';

/** Fails an attempt of an activity that is asked again: not an error, and the message names what blocks (I8). */
export function notReady(message: string, nextRetryDelayMs: number): ApplicationFailure {
  const failure = ApplicationFailure.create({
    type: 'NotReady',
    message,
    nextRetryDelay: Math.max(1, Math.ceil(nextRetryDelayMs)),
    category: ApplicationFailureCategory.BENIGN,
  });
  // Nothing went wrong at any place in the code: a stack would only hide the message in the Web UI.
  failure.stack = '';
  return failure;
}

/** A node that does not answer, or is another one than expected, as the blocker of so many operations. */
export function unreachable(error: Error, operations: number): ApplicationFailure {
  const delayMs = error instanceof NodeUnreachable ? error.retryAfterMs : 2_000;
  return notReady(`${operations} operations open: BLOCKED: ${error.message}`, delayMs);
}
