import { extname, isAbsolute, resolve } from 'node:path';
import { type Document, isNode, LineCounter, parseDocument } from 'yaml';
import { z } from 'zod';
import {
  JOB_ID,
  MAX_CHECKPOINT_INTERVAL_MS,
  MAX_PIPELINES,
  MAX_PROGRESS_TIMEOUT_MS,
  MAX_RETRY_TIMES,
  MAX_SOURCE_FILES,
  MAX_STATE_CLEANUP_DELAY_MS,
  MAX_SUBTASKS,
  MAX_TASK_GROUPS,
  MIN_CHECKPOINT_INTERVAL_MS,
  MIN_PROGRESS_TIMEOUT_MS,
} from '../rules/bounds.js';
import { InvalidInput } from '../rules/input.js';
import {
  type FileFormat,
  JOB_DEFAULTS,
  type JobSpec,
  jobSpec,
  type PipelineSpec,
  splitFiles,
  splitRate,
  type TaskGroupSpec,
} from '../rules/job-spec.js';
import { type DurationBounds, describeDuration, parseDuration } from './duration.js';

/** A job file that makes no sense; each problem with its line and its path in the file. */
export class JobFileError extends Error {
  override readonly name = 'JobFileError';
  constructor(readonly problems: readonly JobFileProblem[]) {
    super(problems.map(describeProblem).join('; '));
  }
}

export interface JobFileProblem {
  /** From 1; absent when the file as a whole is meant. */
  readonly line?: number;
  /** `pipelines.0.source.format`; empty for the file as a whole. */
  readonly path: string;
  readonly message: string;
}

export interface JobFile {
  /** What the file calls the job; absent when it leaves that to `--job-id`. */
  readonly jobId?: string;
  readonly job: JobSpec;
}

const FORMATS = ['csv', 'ndjson', 'parquet'] as const satisfies readonly FileFormat[];

/** A duration, or a plain 0. */
const duration = (bounds: DurationBounds) =>
  z.union([z.string(), z.number()]).transform((value, context) => {
    const ms = parseDuration(value === 0 || value === '0' ? '0s' : String(value), bounds);
    if (ms !== undefined) return ms;
    context.addIssue({ code: 'custom', message: `expected ${describeDuration(bounds)}; found ${value}` });
    return z.NEVER;
  });
const checkpointInterval = duration({
  leastMs: MIN_CHECKPOINT_INTERVAL_MS,
  mostMs: MAX_CHECKPOINT_INTERVAL_MS,
});

const filePath = z.string().min(1).max(4_096);
const files = z.array(filePath).min(1).max(MAX_SOURCE_FILES);

const fileSource = z.strictObject({ files: files.optional(), format: z.enum(FORMATS).optional() });
const rateSource = z.strictObject({
  rate: z.strictObject({
    rows: z.int().min(0).default(0),
    rowsPerSecond: z.int().min(1).max(10_000_000),
  }),
});
const taskGroupList = z
  .array(z.strictObject({ id: z.int().min(1).max(MAX_TASK_GROUPS), files }))
  .min(1)
  .max(MAX_TASK_GROUPS);

const source = z.unknown().transform((value, context) => {
  const known = typeof value === 'object' && value !== null;
  const kind = known && 'rate' in value ? rateSource : fileSource;
  if (!known || !('rate' in value || 'files' in value || 'format' in value)) {
    const found = known ? `; found ${Object.keys(value).join(', ') || 'nothing'}` : '';
    context.addIssue({ code: 'custom', message: `unknown source: expected files or rate${found}` });
    return z.NEVER;
  }
  const parsed = kind.safeParse(value);
  if (parsed.success) return parsed.data;
  for (const { message, path } of parsed.error.issues) context.addIssue({ code: 'custom', message, path });
  return z.NEVER;
});

const pipeline = z.strictObject({
  id: z.int().min(1).max(MAX_PIPELINES).optional(),
  source,
  transform: z.string().max(20_000).default(''),
  sink: z.strictObject({ directory: filePath, format: z.enum(FORMATS).default('parquet') }),
  parallelism: z.int().min(1).max(MAX_SUBTASKS).default(JOB_DEFAULTS.parallelism),
  checkpointInterval: checkpointInterval.optional(),
  taskGroups: z.union([z.int().min(1).max(MAX_TASK_GROUPS), taskGroupList]).default(JOB_DEFAULTS.taskGroups),
});

const jobFile = z.strictObject({
  job: z.string().regex(JOB_ID, 'expected 1 to 63 letters, digits or . _ -').optional(),
  env: z
    .strictObject({
      jobMode: z.enum(['BATCH', 'STREAMING']).default(JOB_DEFAULTS.jobMode),
      retryTimes: z.int().min(0).max(MAX_RETRY_TIMES).default(JOB_DEFAULTS.retryTimes),
      progressTimeout: duration({
        leastMs: MIN_PROGRESS_TIMEOUT_MS,
        mostMs: MAX_PROGRESS_TIMEOUT_MS,
      }).default(JOB_DEFAULTS.progressTimeoutMs),
      stateCleanupDelay: duration({ leastMs: 0, mostMs: MAX_STATE_CLEANUP_DELAY_MS }).default(
        JOB_DEFAULTS.stateCleanupDelayMs,
      ),
      checkpointInterval: checkpointInterval.optional(),
    })
    .prefault({}),
  pipelines: z.array(pipeline).min(1).max(MAX_PIPELINES),
});

type PipelineFile = z.infer<typeof pipeline>;
type Env = z.infer<typeof jobFile>['env'];

/**
 * Reads a job file, YAML or JSON. Relative paths are taken from `directory`, the file's own.
 *
 * @throws JobFileError with line and path of each problem (I10)
 */
export function readJobFile(content: string, directory: string): JobFile {
  const lines = new LineCounter();
  const document = parseDocument(content, { lineCounter: lines, prettyErrors: false });
  if (document.errors.length > 0) {
    throw new JobFileError(
      document.errors.map(({ message, pos }) => ({ line: lines.linePos(pos[0]).line, path: '', message })),
    );
  }
  const at = (path: readonly PropertyKey[], message: string): JobFileProblem => ({
    ...lineOf(document, lines, path),
    path: path.join('.'),
    message,
  });
  const parsed = jobFile.safeParse(document.toJS());
  if (!parsed.success) {
    throw new JobFileError(
      parsed.error.issues.flatMap((issue) => flatten(issue)).map(({ path, message }) => at(path, message)),
    );
  }
  const { job, env, pipelines } = parsed.data;
  const problems: JobFileProblem[] = [];
  const complain = (path: readonly PropertyKey[], message: string) => problems.push(at(path, message));
  const specs = pipelines.map((one, index) => pipelineSpec(one, index, { env, directory, complain }));
  reportTwice(
    specs.map(({ pipeline: id }) => id),
    (index, id) => complain(['pipelines', index, 'id'], `pipeline ${id} is there twice`),
  );
  if (problems.length > 0) throw new JobFileError(problems);
  const spec = {
    env: {
      jobMode: env.jobMode,
      retryTimes: env.retryTimes,
      progressTimeoutMs: env.progressTimeout,
      stateCleanupDelayMs: env.stateCleanupDelay,
    },
    pipelines: specs,
  };
  try {
    return { ...(job !== undefined && { jobId: job }), job: jobSpec(spec) };
  } catch (error) {
    if (!(error instanceof InvalidInput)) throw error;
    throw new JobFileError([{ path: error.field, message: error.message }]);
  }
}

function pipelineSpec(
  one: PipelineFile,
  index: number,
  {
    env,
    directory,
    complain,
  }: { env: Env; directory: string; complain: (path: PropertyKey[], message: string) => void },
): PipelineSpec {
  const here = ['pipelines', index];
  const absolute = (path: string) => (isAbsolute(path) ? path : resolve(directory, path));
  const interval = one.checkpointInterval ?? env.checkpointInterval;
  return {
    pipeline: one.id ?? index + 1,
    transform: one.transform.trim().replace(/;$/, ''),
    sink: { directory: absolute(one.sink.directory), format: one.sink.format },
    parallelism: one.parallelism,
    ...(interval !== undefined && { checkpointIntervalMs: interval }),
    taskGroups: taskGroups(),
  };

  function taskGroups(): TaskGroupSpec[] {
    const { source: from, taskGroups: groups } = one;
    if ('rate' in from) {
      if (typeof groups !== 'number') {
        complain([...here, 'taskGroups'], 'a rate source takes a number of task groups, not a list');
        return [];
      }
      if (from.rate.rows === 0 && env.jobMode === 'BATCH') {
        complain([...here, 'source', 'rate'], 'a rate without end (no rows) needs jobMode STREAMING');
      }
      if (from.rate.rows === 0 && interval === undefined) {
        complain([...here, 'source', 'rate'], 'a source without end needs a checkpointInterval');
      }
      return splitRate(from.rate, groups).map((part, at) => ({ taskGroup: at + 1, source: part }));
    }
    const listed = typeof groups === 'number' ? from.files : groups.flatMap((group) => group.files);
    if (listed === undefined) {
      complain([...here, 'source', 'files'], 'give files here, or for each task group');
      return [];
    }
    if (typeof groups !== 'number') {
      if (from.files !== undefined)
        complain([...here, 'source', 'files'], 'give files here or for each task group, not both');
      reportTwice(
        groups.map(({ id }) => id),
        (at, id) => complain([...here, 'taskGroups', at, 'id'], `task group ${id} is there twice`),
      );
    }
    reportTwice(listed.map(absolute), (at, path) =>
      complain(
        typeof groups === 'number' ? [...here, 'source', 'files', at] : [...here, 'taskGroups'],
        `${path} is there twice: its rows would be read twice`,
      ),
    );
    const format = from.format ?? formatOf(listed[0]!);
    if (format === undefined) {
      complain(
        [...here, 'source', 'format'],
        `give a format (${FORMATS.join(', ')}): the file names do not say it`,
      );
      return [];
    }
    const split =
      typeof groups === 'number'
        ? splitFiles(listed, groups).map((paths, at) => ({ id: at + 1, files: paths }))
        : groups;
    return split.map(({ id, files: paths }) => ({
      taskGroup: id,
      source: { kind: 'files' as const, paths: paths.map(absolute), format },
    }));
  }
}

function formatOf(path: string): FileFormat | undefined {
  const extension = extname(path).slice(1).toLowerCase();
  return extension === 'jsonl' ? 'ndjson' : FORMATS.find((format) => format === extension);
}

function reportTwice<T>(values: readonly T[], report: (index: number, value: T) => void): void {
  for (const [index, value] of values.entries()) if (values.indexOf(value) !== index) report(index, value);
}

/** A union tells its problems inside: those of the branch that came furthest say what is wrong. */
function flatten(issue: z.core.$ZodIssue): { path: PropertyKey[]; message: string }[] {
  if (issue.code !== 'invalid_union' || issue.errors.length === 0)
    return [{ path: issue.path, message: issue.message }];
  const deepest = issue.errors.reduce((a, b) => (depth(b) > depth(a) ? b : a));
  if (depth(deepest) === 0) return [{ path: issue.path, message: issue.message }];
  return deepest.flatMap((inner) => flatten({ ...inner, path: [...issue.path, ...inner.path] }));
}

function depth(issues: readonly z.core.$ZodIssue[]): number {
  return Math.max(0, ...issues.map(({ path }) => path.length));
}

/** The line of what stands at a path, or of the nearest thing around it. */
function lineOf(document: Document, lines: LineCounter, path: readonly PropertyKey[]): { line?: number } {
  for (let length = path.length; length >= 0; length -= 1) {
    const node = length === 0 ? document.contents : document.getIn(path.slice(0, length), true);
    if (isNode(node) && node.range) return { line: lines.linePos(node.range[0]).line };
  }
  return {};
}

function describeProblem({ line, path, message }: JobFileProblem): string {
  return `${line === undefined ? '' : `line ${line}: `}${path === '' ? '' : `${path}: `}${message}`;
}
