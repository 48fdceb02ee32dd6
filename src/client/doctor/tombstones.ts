import type { Jobs } from '../jobs.js';
import { type Finding, ok, warn } from './finding.js';

/** A tombstone is purged when its time is over, and by the sweep of jobs when that was missed. */
const OVERDUE_AFTER_MS = 5 * 60_000;

export async function examineTombstones(jobs: Jobs, now: number): Promise<Finding> {
  const check = 'tombstones';
  const all = (await jobs.list()).filter(({ endedAt }) => endedAt !== undefined);
  const overdue = all.filter(
    ({ freeAt }) => freeAt !== undefined && now - Date.parse(freeAt) > OVERDUE_AFTER_MS,
  );
  if (overdue.length === 0) return ok(check, `${all.length}, none overdue`);
  const [oldest] = [...overdue].sort((a, b) => a.freeAt!.localeCompare(b.freeAt!));
  return warn(
    check,
    `${overdue.length} overdue: the state of job ${oldest!.jobId} should have been purged at ${oldest!.freeAt}`,
    'steward schedule trigger steward/sweep-jobs; when it stays, the log of the worker says why',
  );
}
