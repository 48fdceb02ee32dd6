/** How long to wait before a node is asked again. All in milliseconds. */

const SOONEST_MS = 50;
/** The longest that something open is not asked about. */
export const LATEST_MS = 2_000;
const FAIL_FIRST_MS = 100;
const FAIL_LATEST_MS = 30_000;

/** The delay follows the data, not the number of polls: half the age of the youngest open operation, 50 ms to 2 s. */
export function pollDelayMs(youngestAgeMs: number): number {
  return clamp(youngestAgeMs / 2, SOONEST_MS, LATEST_MS);
}

/** After FAIL, before the next attempt of an operation is submitted: 100 ms x 2^(attempt - 1), at most 30 s. */
export function retryDelayMs(failedAttempt: number): number {
  return Math.min(FAIL_FIRST_MS * 2 ** Math.min(failedAttempt - 1, 20), FAIL_LATEST_MS);
}

/** After `failures` calls in a row that a node did not answer: 100 ms, doubling, at most 2 s. */
export function unreachableDelayMs(failures: number): number {
  return Math.min(100 * 2 ** Math.min(failures - 1, 10), 2_000);
}

function clamp(value: number, least: number, most: number): number {
  return Math.round(Math.min(Math.max(value, least), most));
}
