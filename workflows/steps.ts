import {
  ActivityFailure,
  ApplicationFailure,
  isCancellation,
  proxyActivities,
  proxyLocalActivities,
} from '@temporalio/workflow';
import { DURABLE_STEP, QUICK_STEP } from './activity-options.js';

type Activity = (...args: never[]) => Promise<unknown>;

/**
 * Activities as steps: tried as local activities first (one event), and as durable ones when that does not work at once.
 * Each step must therefore bear being run twice. Failures that are not retryable come through as they are.
 */
export function proxySteps<A extends Record<string, Activity>>(): A {
  const quick = proxyLocalActivities<A>(QUICK_STEP) as unknown as Record<string, Activity>;
  const durable = proxyActivities<A>(DURABLE_STEP) as unknown as Record<string, Activity>;
  return new Proxy({} as A, {
    get:
      (_, name: string) =>
      async (...args: never[]) => {
        try {
          return await quick[name]!(...args);
        } catch (error) {
          if (isCancellation(error) || isFinal(error)) throw error;
          return durable[name]!(...args);
        }
      },
  });
}

function isFinal(error: unknown): boolean {
  return (
    error instanceof ActivityFailure &&
    error.cause instanceof ApplicationFailure &&
    error.cause.nonRetryable === true
  );
}
