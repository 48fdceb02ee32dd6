/**
 * The allowed transitions of jobs, pipelines and task groups. Whatever changes a state asks here first; anything else is
 * logged and skipped.
 *
 * FAILING and CANCELING end what still runs; from FAILING a job either starts again (CREATED, a new execution) or is FAILED.
 */
export type JobState =
  | 'CREATED'
  | 'SCHEDULED'
  | 'RUNNING'
  | 'FINISHED'
  | 'FAILING'
  | 'FAILED'
  | 'CANCELING'
  | 'CANCELED'
  | 'DOING_SAVEPOINT'
  | 'SAVEPOINT_DONE';

export type PipelineState =
  | 'CREATED'
  | 'SCHEDULED'
  | 'RUNNING'
  | 'FINISHED'
  | 'FAILING'
  | 'FAILED'
  | 'CANCELING'
  | 'CANCELED';

/** DEPLOYING: a node was asked to start it, and may have done so. */
export type TaskGroupState =
  | 'CREATED'
  | 'DEPLOYING'
  | 'RUNNING'
  | 'FINISHED'
  | 'FAILED'
  | 'CANCELING'
  | 'CANCELED';

type Transitions<State extends string> = Readonly<Record<State, readonly State[]>>;

const TRANSITIONS = {
  job: {
    CREATED: ['SCHEDULED', 'CANCELING', 'DOING_SAVEPOINT'],
    SCHEDULED: ['RUNNING', 'FAILING', 'CANCELING', 'DOING_SAVEPOINT'],
    RUNNING: ['FINISHED', 'FAILING', 'CANCELING', 'DOING_SAVEPOINT'],
    FAILING: ['CREATED', 'FAILED', 'CANCELING'],
    CANCELING: ['CANCELED'],
    DOING_SAVEPOINT: ['SAVEPOINT_DONE', 'FINISHED', 'FAILED', 'CANCELING'],
    FINISHED: [],
    FAILED: [],
    CANCELED: [],
    SAVEPOINT_DONE: [],
  } satisfies Transitions<JobState>,
  pipeline: {
    CREATED: ['SCHEDULED', 'FAILED', 'CANCELED'],
    SCHEDULED: ['RUNNING', 'FINISHED', 'FAILING', 'FAILED', 'CANCELING', 'CANCELED'],
    RUNNING: ['FINISHED', 'FAILING', 'FAILED', 'CANCELING', 'CANCELED'],
    FAILING: ['CREATED', 'FAILED'],
    CANCELING: ['CREATED', 'FINISHED', 'FAILING', 'FAILED', 'CANCELED'],
    // A new execution of the job starts every pipeline again.
    FINISHED: ['CREATED'],
    FAILED: ['CREATED'],
    CANCELED: ['CREATED'],
  } satisfies Transitions<PipelineState>,
  taskGroup: {
    CREATED: ['DEPLOYING', 'FAILED', 'CANCELED'],
    // One that is quick has ended before its deployment is on record.
    DEPLOYING: ['RUNNING', 'FINISHED', 'FAILED', 'CANCELING', 'CANCELED'],
    RUNNING: ['FINISHED', 'FAILED', 'CANCELING', 'CANCELED'],
    CANCELING: ['FINISHED', 'FAILED', 'CANCELED'],
    FINISHED: ['CREATED'],
    FAILED: ['CREATED'],
    CANCELED: ['CREATED'],
  } satisfies Transitions<TaskGroupState>,
} as const;

export const mayJobBecome = allowed<JobState>(TRANSITIONS.job);
export const mayPipelineBecome = allowed<PipelineState>(TRANSITIONS.pipeline);
export const mayTaskGroupBecome = allowed<TaskGroupState>(TRANSITIONS.taskGroup);

/** From which states one may come to `to`: what a compare-and-set in the catalog is held against. */
export function taskGroupStatesBefore(to: TaskGroupState): TaskGroupState[] {
  const states = Object.keys(TRANSITIONS.taskGroup) as TaskGroupState[];
  return states.filter((from) => mayTaskGroupBecome(from, to));
}

export type TerminalJobState = 'FINISHED' | 'FAILED' | 'CANCELED' | 'SAVEPOINT_DONE';

/** A job that is over, and is never resumed. */
export function isJobOver(state: JobState): state is TerminalJobState {
  return state === 'FINISHED' || state === 'FAILED' || state === 'CANCELED' || state === 'SAVEPOINT_DONE';
}

/** A task group of which this execution says nothing more. */
export function isTaskGroupOver(state: TaskGroupState): boolean {
  return state === 'FINISHED' || state === 'FAILED' || state === 'CANCELED';
}

/** What a pipeline is, by its task groups. */
export function pipelineStateOf(taskGroups: readonly TaskGroupState[]): PipelineState {
  const some = (state: TaskGroupState) => taskGroups.includes(state);
  const over = taskGroups.every(isTaskGroupOver);
  if (some('FAILED')) return over ? 'FAILED' : 'FAILING';
  if (some('CANCELING')) return 'CANCELING';
  if (over) return some('CANCELED') ? 'CANCELED' : 'FINISHED';
  if (some('CANCELED')) return 'CANCELING';
  if (taskGroups.every((state) => state === 'CREATED')) return 'CREATED';
  return some('DEPLOYING') || some('CREATED') ? 'SCHEDULED' : 'RUNNING';
}

/**
 * What a running execution's task groups mean for the job: goes on, is done, or has failed. One that was cancelled although
 * nobody asked the job to end has failed it too.
 */
export function judgeExecution(taskGroups: readonly TaskGroupState[]): 'RUNS' | 'FINISHED' | 'FAILED' {
  if (taskGroups.some((state) => state === 'FAILED' || state === 'CANCELED')) return 'FAILED';
  return taskGroups.every((state) => state === 'FINISHED') ? 'FINISHED' : 'RUNS';
}

function allowed<State extends string>(transitions: Transitions<State>) {
  return (from: State, to: State): boolean => transitions[from].includes(to);
}
