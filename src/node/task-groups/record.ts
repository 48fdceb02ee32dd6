import type { ProcessIdentity } from '../../process-identity.js';
import type { TaskGroupLocation } from '../../rules/operation-id.js';
import type { TaskGroupCheckpoint } from '../operation.js';

export type TaskGroupState = 'RUNNING' | 'FINISHED' | 'FAILED' | 'CANCELED';

/** What the node knows of the newest execution of a location. */
export interface TaskGroupRecord {
  readonly location: TaskGroupLocation;
  /** UUID of the owner of the job's rows. */
  readonly owner: string;
  /** Execution id of the job: the epoch of the location. */
  readonly execution: number;
  readonly state: TaskGroupState;
  /** Since the job's first start; what is told is what is written here, so that it never steps back. */
  readonly rowsIn: number;
  readonly rowsOut: number;
  /** Last committed checkpoint; 0 when there is none. */
  readonly checkpointId: number;
  /** Why it is FAILED. */
  readonly error?: string;
  /** Sink of the task group. */
  readonly directory: string;
  /** The process that runs it, so that one which outlived its node is found. */
  readonly runner?: ProcessIdentity;
  /** A checkpoint that was sent to the coordinator and is not known to be committed and published. */
  readonly unsettled?: UnsettledCheckpoint;
  readonly endedAtMs?: number;
  /** When the coordinator acknowledged the end. */
  readonly acknowledgedAtMs?: number;
}

export interface UnsettledCheckpoint {
  readonly checkpoint: TaskGroupCheckpoint;
  readonly last: boolean;
}

/** Nobody waits for anything of it any more: it is only kept for its retention. */
export function isOver(record: TaskGroupRecord): boolean {
  return (
    record.state !== 'RUNNING' && record.acknowledgedAtMs !== undefined && record.unsettled === undefined
  );
}

/** The record once nothing of it is unsettled any more. */
export function settled(record: TaskGroupRecord): TaskGroupRecord {
  const { unsettled: _settled, ...rest } = record;
  return rest;
}

/** The record once no process runs it any more. */
export function withoutRunner(record: TaskGroupRecord): TaskGroupRecord {
  const { runner: _gone, ...rest } = record;
  return rest;
}
