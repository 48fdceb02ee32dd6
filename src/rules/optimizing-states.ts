/**
 * The allowed transitions of tables, processes, tasks and resources. Whatever changes a state asks here first; anything
 * else is refused.
 */
export type TableStatus =
  | 'IDLE'
  | 'PENDING'
  | 'PLANNING'
  | 'MINOR_OPTIMIZING'
  | 'MAJOR_OPTIMIZING'
  | 'FULL_OPTIMIZING'
  | 'COMMITTING';
export type ProcessState = 'RUNNING' | 'SUCCESS' | 'FAILED' | 'CLOSED';
export type TaskState = 'PLANNED' | 'SCHEDULED' | 'ACKED' | 'SUCCESS' | 'FAILED' | 'CANCELED';
export type ResourceState = 'REQUESTED' | 'STARTED' | 'RELEASING';

const TABLE: Transitions<TableStatus> = {
  IDLE: ['PENDING', 'PLANNING'],
  PENDING: ['PLANNING', 'IDLE'],
  PLANNING: ['MINOR_OPTIMIZING', 'MAJOR_OPTIMIZING', 'FULL_OPTIMIZING', 'IDLE', 'PENDING'],
  MINOR_OPTIMIZING: ['COMMITTING', 'IDLE'],
  MAJOR_OPTIMIZING: ['COMMITTING', 'IDLE'],
  FULL_OPTIMIZING: ['COMMITTING', 'IDLE'],
  COMMITTING: ['IDLE'],
};

const PROCESS: Transitions<ProcessState> = {
  RUNNING: ['SUCCESS', 'FAILED', 'CLOSED'],
  SUCCESS: [],
  FAILED: [],
  CLOSED: [],
};

/** What goes back to PLANNED raises the attempt: a result of the attempt before is stale from then on. */
const TASK: Transitions<TaskState> = {
  PLANNED: ['SCHEDULED', 'CANCELED'],
  SCHEDULED: ['ACKED', 'PLANNED', 'CANCELED'],
  ACKED: ['SUCCESS', 'FAILED', 'PLANNED', 'CANCELED'],
  SUCCESS: [],
  FAILED: ['PLANNED', 'CANCELED'],
  CANCELED: [],
};

const RESOURCE: Transitions<ResourceState> = {
  REQUESTED: ['STARTED', 'RELEASING'],
  STARTED: ['REQUESTED', 'RELEASING'],
  RELEASING: [],
};

type Transitions<State extends string> = Readonly<Record<State, readonly State[]>>;

export const mayTableBecome = allowed(TABLE);
export const mayProcessBecome = allowed(PROCESS);
export const mayTaskBecome = allowed(TASK);
export const mayResourceBecome = allowed(RESOURCE);

/** FAILED attempts of one task after which its process is FAILED. */
export const MAX_TASK_FAILURES = 5;

function allowed<State extends string>(transitions: Transitions<State>) {
  return (from: State, to: State): boolean => transitions[from].includes(to);
}
