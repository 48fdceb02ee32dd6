import {
  ActivityFailure,
  ApplicationFailure,
  isCancellation,
  proxyActivities,
  proxyLocalActivities,
} from '@temporalio/workflow';
import { DURABLE_STEP, QUICK_STEP } from './activity-options.js';

type Activity = (...args: never[]) => Promise<unknown>;
type Step = { executeWithOptions(options: { summary: string }, args: never[]): Promise<unknown> };

/**
 * Activities as steps: tried as local activities first (one event), and as durable ones when that does not work at once.
 * Each step must therefore bear being run twice. Failures that are not retryable come through as they are.
 */
export function proxySteps<A extends Record<string, Activity>>(): A {
  const quick = proxyLocalActivities<A>(QUICK_STEP) as unknown as Record<string, Step>;
  const durable = proxyActivities<A>(DURABLE_STEP) as unknown as Record<string, Step>;
  return new Proxy({} as A, {
    get:
      (_, name: string) =>
      async (...args: never[]) => {
        const options = { summary: inWords(name) };
        try {
          return await quick[name]!.executeWithOptions(options, args);
        } catch (error) {
          if (isCancellation(error) || isFinal(error)) throw error;
          return durable[name]!.executeWithOptions(options, args);
        }
      },
  });
}

/** `claimRemoval`: claim removal. */
function inWords(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}

function isFinal(error: unknown): boolean {
  return (
    error instanceof ActivityFailure &&
    error.cause instanceof ApplicationFailure &&
    error.cause.nonRetryable === true
  );
}
