import { StewardError } from './errors.js';

/** How often, and after how long, an Update that was lost is sent again under its id. */
export const UPDATE_ATTEMPTS = 20;
export const UPDATE_RETRY_MS = 250;

const FAILED_PRECONDITION = 9;
/** `... due to Workflow Task in failed state`, and other words for the same. */
const WORKFLOW_TASK = /workflow task/i;

/**
 * An Update that met a workflow task which failed, for example because its workflow continued as new just then. Whether it
 * was applied is unknown; under the same id one run applies it once, a new run applies it again.
 */
export function isLostUpdate(error: unknown): boolean {
  if (!(error instanceof StewardError) || !(error.cause instanceof Error)) return false;
  const { cause } = error.cause as { cause?: { code?: unknown; details?: unknown } };
  return cause?.code === FAILED_PRECONDITION && WORKFLOW_TASK.test(String(cause.details));
}
