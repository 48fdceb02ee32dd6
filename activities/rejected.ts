import { ApplicationFailure } from '@temporalio/common';
import { FAILURE } from '../src/rules/failure-types.js';

/** Fails an activity for good: it cannot be done as asked, and asking again does not help. The code is for programs. */
export function rejected(code: string, message: string): ApplicationFailure {
  return ApplicationFailure.nonRetryable(message, FAILURE.REJECTED, code);
}
