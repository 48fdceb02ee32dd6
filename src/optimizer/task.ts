import { isAbsolute, join, normalize, sep } from 'node:path';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { z } from 'zod';
import type { OptimizingTask } from '../rpc/gen/steward/coordinator/v1/optimizing_pb.js';
import type { TaskResultSchema } from '../rpc/gen/steward/worker/v1/inventory_pb.js';

export const DataFile = z.object({
  /** Relative to the table's location. */
  path: z.string(),
  rows: z.number().int().nonnegative(),
  bytes: z.number().int().nonnegative(),
});
/** A Parquet file of a table. */
export type DataFile = z.infer<typeof DataFile>;

export const TaskKey = z.object({ taskId: z.string().min(1), attempt: z.number().int().nonnegative() });
/** One attempt of a task: what results are kept under. */
export type TaskKey = z.infer<typeof TaskKey>;

export const MergeTask = TaskKey.extend({
  location: z.string(),
  inputs: z.array(DataFile),
  output: z.string(),
});
/** Inputs that become one output, as the coordinator handed them out. */
export type MergeTask = z.infer<typeof MergeTask>;

export const TaskResult = z.union([
  z.object({ outputs: z.array(DataFile) }),
  /** Why it failed; for people. */
  z.object({ error: z.string() }),
]);
/** What became of a task. */
export type TaskResult = z.infer<typeof TaskResult>;

const LONGEST_FILE_NAME = 200;

/**
 * The name under which outbox and markers keep a task.
 *
 * @throws Error when it would be too long for a file system
 */
export function fileNameOf({ taskId, attempt }: TaskKey): string {
  const name = `${encodeURIComponent(taskId)}@${attempt}.json`;
  if (name.length > LONGEST_FILE_NAME) throw new Error(`the task id is too long to be kept: ${taskId}`);
  return name;
}

/**
 * Where a file of the table is.
 *
 * @throws Error when the path leads out of the table's location, or that is no absolute path (I10)
 */
export function pathInTable(location: string, path: string): string {
  if (!isAbsolute(location)) throw new Error(`the table's location is no absolute path: ${location}`);
  const inside = normalize(path);
  if (path === '' || path.includes('\0') || isAbsolute(path) || inside.split(sep)[0] === '..') {
    throw new Error(`not a path within the table: ${JSON.stringify(path)}`);
  }
  return join(location, inside);
}

export function taskFrom(message: OptimizingTask): MergeTask {
  const { taskId, attempt, location, inputs, output } = message;
  return {
    taskId,
    attempt,
    location,
    inputs: inputs.map(({ path, rows, bytes }) => ({ path, rows: Number(rows), bytes: Number(bytes) })),
    output,
  };
}

/** The result as the coordinator and the node's inventory tell it. */
export function resultMessage(result: TaskResult): MessageInitShape<typeof TaskResultSchema> {
  if ('error' in result) return { outcome: { case: 'error', value: result.error } };
  const outputs = result.outputs.map(({ path, rows, bytes }) => ({
    path,
    rows: BigInt(rows),
    bytes: BigInt(bytes),
  }));
  return { outcome: { case: 'merged', value: { outputs } } };
}
