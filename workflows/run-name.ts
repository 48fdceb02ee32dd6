import { patched } from '@temporalio/workflow';

/**
 * Short name of a run, for ids of what it starts. Taken from the end of the run's id: that begins with its time, and the runs
 * of a whole minute share it.
 */
export function nameOfRun(runId: string): string {
  return runId.slice(-8);
}

/** As {@link nameOfRun}, in ids of workflows that a history may hold already. */
export function recordedNameOfRun(runId: string): string {
  return patched('end-of-run-id') ? nameOfRun(runId) : runId.slice(0, 8);
}
