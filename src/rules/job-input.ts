import { ACTOR_NAME, JOB_ID, MAX_STATE_CLEANUP_DELAY_MS } from './bounds.js';
import { InvalidInput, integer, object, text, UNKNOWN_ACTOR } from './input.js';
import { type JobSpec, jobSpec } from './job-spec.js';

/** Guards of the inputs of the job workflows, as in src/rules/input.ts (I10). */
export interface RunJobInput {
  readonly jobId: string;
  readonly job: JobSpec;
  /** Starts from the newest savepoint of the job id, and takes over from a tombstone. */
  readonly fromSavepoint: boolean;
  /** Goes on with the rows of this owner: after continue-as-new, or when its workflow was gone. */
  readonly owner?: string;
  readonly actor: string;
}

export interface PurgeJobStateInput {
  readonly jobId: string;
  readonly owner: string;
  /** From the start of this workflow on. */
  readonly delayMs: number;
  readonly actor: string;
}

export interface SweepJobsInput {
  readonly actor: string;
}

const OWNER = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export function runJobInput(value: unknown): RunJobInput {
  const input = object(value, ['jobId', 'job', 'fromSavepoint', 'owner', 'actor']);
  const { fromSavepoint = false } = input;
  if (typeof fromSavepoint !== 'boolean') throw new InvalidInput('fromSavepoint', 'expected true or false');
  return {
    jobId: text(input, 'jobId', JOB_ID),
    job: jobSpec(input['job']),
    fromSavepoint,
    ...(input['owner'] !== undefined && { owner: text(input, 'owner', OWNER) }),
    actor: actor(input),
  };
}

export function purgeJobStateInput(value: unknown): PurgeJobStateInput {
  const input = object(value, ['jobId', 'owner', 'delayMs', 'actor']);
  return {
    jobId: text(input, 'jobId', JOB_ID),
    owner: text(input, 'owner', OWNER),
    delayMs: integer(input, 'delayMs', 0, MAX_STATE_CLEANUP_DELAY_MS),
    actor: actor(input),
  };
}

export function sweepJobsInput(value: unknown): SweepJobsInput {
  return { actor: actor(object(value ?? {}, ['actor'])) };
}

function actor(input: Record<string, unknown>): string {
  return input['actor'] === undefined ? UNKNOWN_ACTOR : text(input, 'actor', ACTOR_NAME);
}
