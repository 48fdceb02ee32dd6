import { ActivityFailure, isCancellation } from '@temporalio/workflow';

/**
 * Whether this error says that a cancellation reached the work. An activity whose attempt failed by itself while it was being
 * cancelled says so only in its retry state.
 */
export function wasCancelled(error: unknown): boolean {
  return (
    isCancellation(error) || (error instanceof ActivityFailure && error.retryState === 'CANCEL_REQUESTED')
  );
}
