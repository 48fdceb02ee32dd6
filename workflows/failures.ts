import { ApplicationFailure } from '@temporalio/workflow';
import { FAILURE } from '../src/rules/failure-types.js';
import { InvalidInput } from '../src/rules/input.js';
import type { Holder } from '../src/rules/words.js';

/** Runs the synchronous guard in the first line of a workflow: junk fails it at once instead of hanging it (I10). */
export function guarded<T>(guard: (value: unknown) => T, value: unknown): T {
  try {
    return guard(value);
  } catch (error) {
    if (!(error instanceof InvalidInput)) throw error;
    throw ApplicationFailure.nonRetryable(error.message, FAILURE.INVALID_INPUT, error.field);
  }
}

interface NotGranted {
  readonly kind: 'REFUSED' | 'REJECTED';
}

type Answer = { readonly kind: string };

/** The claim if it was granted; fails the workflow, naming the holder or the reason, if not (I5). */
export function grantedOrFail<A extends Answer>(answer: A): Exclude<A, NotGranted> {
  if (answer.kind === 'REFUSED') {
    const { holder, resource } = answer as unknown as { holder: Holder; resource: string };
    throw ApplicationFailure.nonRetryable(
      `${resource} is held by ${holder.workflowType} ${holder.workflowId} of ${holder.actor} since ${holder.since}`,
      FAILURE.HELD,
      holder,
    );
  }
  if (answer.kind === 'REJECTED') {
    const { code, message } = answer as unknown as { code: string; message: string };
    throw ApplicationFailure.nonRetryable(message, FAILURE.REJECTED, code);
  }
  return answer as Exclude<A, NotGranted>;
}
