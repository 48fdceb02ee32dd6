import {
  MAX_CHECKPOINT_INTERVAL_MS,
  MAX_ID,
  MAX_PIPELINES,
  MAX_PROGRESS_TIMEOUT_MS,
  MAX_RETRY_TIMES,
  MAX_SOURCE_FILES,
  MAX_STATE_CLEANUP_DELAY_MS,
  MAX_SUBTASKS,
  MAX_TASK_GROUPS,
  MIN_CHECKPOINT_INTERVAL_MS,
  MIN_PROGRESS_TIMEOUT_MS,
} from './bounds.js';
import { InvalidInput, integer, object, oneOf } from './input.js';

/** A job as it is submitted: complete, with every default filled in. Paths are absolute, on the nodes' file systems. */
export interface JobSpec {
  readonly env: JobEnvironment;
  readonly pipelines: readonly PipelineSpec[];
}

export interface JobEnvironment {
  /** BATCH ends by itself; STREAMING runs until it is cancelled. */
  readonly jobMode: 'BATCH' | 'STREAMING';
  /** Executions that may follow a failed one. */
  readonly retryTimes: number;
  /** A task group that reads nothing and commits nothing for longer is a zombie. */
  readonly progressTimeoutMs: number;
  /** How long the terminal state stays as a tombstone. */
  readonly stateCleanupDelayMs: number;
}

export interface PipelineSpec {
  readonly pipeline: number;
  /** SELECT over the table `source`; empty: everything as it is. */
  readonly transform: string;
  readonly sink: { readonly directory: string; readonly format: FileFormat };
  /** Sub-tasks of each task group that run at a time. */
  readonly parallelism: number;
  /** Absent: one checkpoint, at the end. */
  readonly checkpointIntervalMs?: number;
  readonly taskGroups: readonly TaskGroupSpec[];
}

/** One task group: what is deployed on one node. */
export interface TaskGroupSpec {
  readonly taskGroup: number;
  readonly source: SourceSpec;
}

export type FileFormat = 'csv' | 'ndjson' | 'parquet';

export type SourceSpec =
  | { readonly kind: 'files'; readonly paths: readonly string[]; readonly format: FileFormat }
  /** `rows` 0: without end. */
  | { readonly kind: 'rate'; readonly first: number; readonly rows: number; readonly rowsPerSecond: number };

export const JOB_DEFAULTS = {
  jobMode: 'BATCH',
  retryTimes: 0,
  progressTimeoutMs: 300_000,
  stateCleanupDelayMs: 60_000,
  parallelism: 1,
  taskGroups: 1,
} as const;

const FORMATS = ['csv', 'ndjson', 'parquet'] as const;
const MAX_TRANSFORM = 20_000;

/** Files dealt out over so many task groups, one after the other; fewer task groups than asked when there are fewer files. */
export function splitFiles(paths: readonly string[], taskGroups: number): string[][] {
  const count = Math.min(taskGroups, paths.length);
  return Array.from({ length: count }, (_, at) => paths.filter((_path, index) => index % count === at));
}

/**
 * Rows `first`, `first + 1`, ... of a rate source, cut into consecutive ranges for so many task groups. A source without end
 * (`rows` 0) cannot be cut, so it has one task group.
 */
export function splitRate(
  rate: { readonly rows: number; readonly rowsPerSecond: number },
  taskGroups: number,
) {
  const count = rate.rows === 0 ? 1 : Math.min(taskGroups, rate.rows);
  const size = Math.floor(rate.rows / count);
  const rest = rate.rows % count;
  return Array.from({ length: count }, (_, at) => ({
    kind: 'rate' as const,
    first: at * size + Math.min(at, rest),
    rows: size + (at < rest ? 1 : 0),
    rowsPerSecond: Math.max(1, Math.round(rate.rowsPerSecond / count)),
  }));
}

/** The guard of a job in a workflow's input: synchronous, without dependency; throws InvalidInput that names the field. */
export function jobSpec(value: unknown): JobSpec {
  const spec = object(value, ['env', 'pipelines']);
  const env = environment(spec['env']);
  const pipelines = list(spec['pipelines'], 'job.pipelines', MAX_PIPELINES).map((one, index) =>
    pipelineSpec(one, `job.pipelines.${index}`, env),
  );
  distinct(
    pipelines.map(({ pipeline }) => pipeline),
    'job.pipelines',
    'pipeline',
  );
  const taskGroups = pipelines.reduce((sum, one) => sum + one.taskGroups.length, 0);
  if (taskGroups > MAX_TASK_GROUPS) {
    throw new InvalidInput('job.pipelines', `${taskGroups} task groups; at most ${MAX_TASK_GROUPS} in a job`);
  }
  return { env, pipelines };
}

function environment(value: unknown): JobEnvironment {
  const env = object(value, ['jobMode', 'retryTimes', 'progressTimeoutMs', 'stateCleanupDelayMs']);
  return {
    jobMode: oneOf(env, 'jobMode', ['BATCH', 'STREAMING']),
    retryTimes: integer(env, 'retryTimes', 0, MAX_RETRY_TIMES),
    progressTimeoutMs: integer(env, 'progressTimeoutMs', MIN_PROGRESS_TIMEOUT_MS, MAX_PROGRESS_TIMEOUT_MS),
    stateCleanupDelayMs: integer(env, 'stateCleanupDelayMs', 0, MAX_STATE_CLEANUP_DELAY_MS),
  };
}

function pipelineSpec(value: unknown, at: string, env: JobEnvironment): PipelineSpec {
  const fields = object(value, [
    'pipeline',
    'transform',
    'sink',
    'parallelism',
    'checkpointIntervalMs',
    'taskGroups',
  ]);
  const sink = object(fields['sink'], ['directory', 'format']);
  const { transform } = fields;
  if (typeof transform !== 'string' || transform.length > MAX_TRANSFORM) {
    throw new InvalidInput(`${at}.transform`, `expected a text of at most ${MAX_TRANSFORM} characters`);
  }
  const taskGroups = list(fields['taskGroups'], `${at}.taskGroups`, MAX_TASK_GROUPS).map((one, index) =>
    taskGroupSpec(one, `${at}.taskGroups.${index}`),
  );
  distinct(
    taskGroups.map(({ taskGroup }) => taskGroup),
    `${at}.taskGroups`,
    'task group',
  );
  const endless = taskGroups.some(({ source }) => source.kind === 'rate' && source.rows === 0);
  if (endless && env.jobMode === 'BATCH') {
    throw new InvalidInput(`${at}.taskGroups`, 'a rate source without end (rows 0) needs jobMode STREAMING');
  }
  if (endless && fields['checkpointIntervalMs'] === undefined) {
    throw new InvalidInput(`${at}.checkpointIntervalMs`, 'a source without end needs a checkpoint interval');
  }
  return {
    pipeline: integer(fields, 'pipeline', 1, MAX_PIPELINES),
    transform,
    sink: {
      directory: path(sink['directory'], `${at}.sink.directory`),
      format: oneOf(sink, 'format', FORMATS),
    },
    parallelism: integer(fields, 'parallelism', 1, MAX_SUBTASKS),
    ...(fields['checkpointIntervalMs'] !== undefined && {
      checkpointIntervalMs: integer(
        fields,
        'checkpointIntervalMs',
        MIN_CHECKPOINT_INTERVAL_MS,
        MAX_CHECKPOINT_INTERVAL_MS,
      ),
    }),
    taskGroups,
  };
}

function taskGroupSpec(value: unknown, at: string): TaskGroupSpec {
  const fields = object(value, ['taskGroup', 'source']);
  const taskGroup = integer(fields, 'taskGroup', 1, MAX_TASK_GROUPS);
  const source = object(fields['source'], ['kind', 'paths', 'format', 'first', 'rows', 'rowsPerSecond']);
  if (oneOf(source, 'kind', ['files', 'rate']) === 'rate') {
    return {
      taskGroup,
      source: {
        kind: 'rate',
        first: integer(source, 'first', 0, MAX_ID),
        rows: integer(source, 'rows', 0, MAX_ID),
        rowsPerSecond: integer(source, 'rowsPerSecond', 1, 10_000_000),
      },
    };
  }
  const paths = list(source['paths'], `${at}.source.paths`, MAX_SOURCE_FILES);
  return {
    taskGroup,
    source: {
      kind: 'files',
      paths: paths.map((one, index) => path(one, `${at}.source.paths.${index}`)),
      format: oneOf(source, 'format', FORMATS),
    },
  };
}

function list(value: unknown, field: string, most: number): unknown[] {
  if (!Array.isArray(value) || value.length === 0 || value.length > most) {
    throw new InvalidInput(field, `expected a list of 1 to ${most}`);
  }
  return value;
}

function path(value: unknown, field: string): string {
  if (typeof value !== 'string' || !value.startsWith('/') || value.length > 4_096) {
    throw new InvalidInput(field, 'expected an absolute path');
  }
  return value;
}

function distinct(ids: readonly number[], field: string, what: string): void {
  const twice = ids.find((id, index) => ids.indexOf(id) !== index);
  if (twice !== undefined) throw new InvalidInput(field, `${what} ${twice} is there twice`);
}
