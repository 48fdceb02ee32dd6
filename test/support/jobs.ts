import type { JobSpec, PipelineSpec } from '../../src/rules/job-spec.js';

export interface JobOptions {
  jobMode?: 'BATCH' | 'STREAMING';
  retryTimes?: number;
  progressTimeoutMs?: number;
  stateCleanupDelayMs?: number;
  checkpointIntervalMs?: number;
  transform?: string;
  parallelism?: number;
}

/** A job of a rate source: `rows` in all, split over task groups; 0 for a stream without end. */
export function rateJob(
  directory: string,
  {
    rows,
    rowsPerSecond = 1_000,
    taskGroups = 1,
  }: { rows: number; rowsPerSecond?: number; taskGroups?: number },
  options: JobOptions = {},
): JobSpec {
  const size = Math.floor(rows / taskGroups);
  return spec(
    directory,
    Array.from({ length: taskGroups }, (_, at) => ({
      taskGroup: at + 1,
      source: {
        kind: 'rate' as const,
        first: rows === 0 ? at * 1_000_000_000 : at * size,
        rows: at === taskGroups - 1 && rows > 0 ? rows - at * size : size,
        rowsPerSecond,
      },
    })),
    options,
  );
}

/** A job of files, one task group for each. */
export function filesJob(directory: string, paths: readonly string[], options: JobOptions = {}): JobSpec {
  return spec(
    directory,
    paths.map((path, at) => ({
      taskGroup: at + 1,
      source: { kind: 'files' as const, paths: [path], format: 'csv' as const },
    })),
    options,
  );
}

function spec(directory: string, taskGroups: PipelineSpec['taskGroups'], options: JobOptions): JobSpec {
  return {
    env: {
      jobMode: options.jobMode ?? 'BATCH',
      retryTimes: options.retryTimes ?? 0,
      progressTimeoutMs: options.progressTimeoutMs ?? 20_000,
      stateCleanupDelayMs: options.stateCleanupDelayMs ?? 60_000,
    },
    pipelines: [
      {
        pipeline: 1,
        transform: options.transform ?? '',
        sink: { directory, format: 'csv' },
        parallelism: options.parallelism ?? 1,
        ...(options.checkpointIntervalMs !== undefined && {
          checkpointIntervalMs: options.checkpointIntervalMs,
        }),
        taskGroups,
      },
    ],
  };
}
