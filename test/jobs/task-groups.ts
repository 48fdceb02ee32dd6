import { randomUUID } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { type TaskGroupInfo, TaskGroupInfo_State } from '../../src/rpc/gen/steward/worker/v1/inventory_pb.js';
import {
  type DeployTaskGroupSchema,
  type TaskGroupCheckpoint,
  TaskGroupCheckpointSchema,
} from '../../src/rpc/gen/steward/worker/v1/operation_pb.js';
import { type NodeProcess, type NodeProcessOptions, startNode } from '../node/node-process.js';
import type { Operation } from '../node/region-operations.js';
import { eventually } from '../support/eventually.js';
import { temporaryDirectory } from '../support/guard.js';
import { TaskGroupCoordinator, type TaskGroupLocation } from './task-group-coordinator.js';

export const CATALOG = randomUUID();
export const OWNER = randomUUID();

export interface Deployment {
  readonly job?: string;
  readonly execution?: number;
  readonly attempt?: number;
  /** Default: `node-1`. */
  readonly nodeId?: string;
  readonly source?: MessageInitShape<typeof DeployTaskGroupSchema>['source'];
  readonly transform?: string;
  readonly directory: string;
  readonly format?: 'csv' | 'ndjson' | 'parquet';
  readonly parallelism?: number;
  readonly intervalMs?: number;
  readonly restore?: TaskGroupCheckpoint | undefined;
}

export function locationOf(job = 'job'): TaskGroupLocation {
  return { catalogId: CATALOG, jobId: job, pipeline: 0, taskGroup: 0 };
}

export function deployment(ask: Deployment): Operation {
  const {
    job = 'job',
    execution = 1,
    attempt = 1,
    format = 'csv',
    parallelism = 1,
    intervalMs,
    restore,
  } = ask;
  return {
    operationId: `deploy-task-group/${CATALOG}/${job}/0/0/${ask.nodeId ?? 'node-1'}@${execution}#${attempt}`,
    epoch: BigInt(execution),
    request: {
      case: 'deployTaskGroup',
      value: {
        taskGroup: locationOf(job),
        owner: OWNER,
        source: ask.source ?? rate(1, 0, 1000),
        transform: ask.transform ?? '',
        sink: { directory: ask.directory, format },
        parallelism,
        ...(intervalMs === undefined ? {} : { checkpointInterval: durationFromMs(intervalMs) }),
        ...(restore === undefined ? {} : { restore: create(TaskGroupCheckpointSchema, restore) }),
      },
    },
  };
}

export function cancellation(
  ask: { job?: string; execution?: number; savepoint?: boolean; attempt?: number } = {},
): Operation {
  const { job = 'job', execution = 1, savepoint = false, attempt = 1 } = ask;
  return {
    operationId: `cancel-task-group/${CATALOG}/${job}/0/0/node-1@${execution}#${attempt}`,
    epoch: BigInt(execution),
    request: { case: 'cancelTaskGroup', value: { taskGroup: locationOf(job), savepoint } },
  };
}

/** Rows (seq, emitted_at); `rows` 0 is without end. */
export function rate(first: number, rows: number, rowsPerSecond: number): Deployment['source'] {
  return { kind: { case: 'rate', value: { first: BigInt(first), rows: BigInt(rows), rowsPerSecond } } };
}

export function files(format: string, ...paths: string[]): Deployment['source'] {
  return { kind: { case: 'files', value: { paths, format } } };
}

/** A CSV file with the columns id, name and so many rows from `first` on. */
export function writeCsv(path: string, first: number, rows: number): string {
  const lines = Array.from({ length: rows }, (_, i) => `${first + i},"name, ${first + i}"`);
  writeFileSync(path, `id,name\n${lines.join('\n')}\n`);
  return path;
}

/** A node, the coordinator that it reports to, and a directory for sources and sinks. */
export interface Site {
  readonly node: NodeProcess;
  readonly coordinator: TaskGroupCoordinator;
  readonly directory: string;
  /** A sink of the test's own. */
  sink(name?: string): string;
  end(): Promise<void>;
}

export async function startSite(options: NodeProcessOptions = {}): Promise<Site> {
  const home = temporaryDirectory('task-groups');
  const coordinator = new TaskGroupCoordinator();
  await coordinator.start();
  let node: NodeProcess;
  try {
    node = await startNode({
      ...options,
      flags: ['--coordinator', coordinator.url, ...(options.flags ?? [])],
    });
  } catch (error) {
    await coordinator.stop();
    await home.remove();
    throw error;
  }
  return {
    node,
    coordinator,
    directory: home.path,
    sink: (name = 'sink') => join(home.path, name),
    async end() {
      await node.end();
      await coordinator.stop();
      await home.remove();
    },
  };
}

/** The task groups of a job that the node lists; all without a name. */
export async function listed(node: NodeProcess, job = ''): Promise<TaskGroupInfo[]> {
  const { taskGroups } = await node.inventory.listTaskGroups({ node: node.ref, jobId: job });
  return taskGroups;
}

/** The one task group of the job. */
export async function taskGroup(node: NodeProcess, job = 'job'): Promise<TaskGroupInfo> {
  const found = await listed(node, job);
  if (found.length !== 1) throw new Error(`${found.length} task groups of ${job} are listed`);
  return found[0]!;
}

/** Waits for the end of an execution and answers it. */
export async function endOf(node: NodeProcess, execution = 1, job = 'job'): Promise<TaskGroupInfo> {
  return eventually(`the end of execution ${execution} of ${job}`, async () => {
    const info = await taskGroup(node, job);
    return info.execution === BigInt(execution) && info.state !== TaskGroupInfo_State.RUNNING
      ? info
      : undefined;
  });
}

export function stateOf({ state }: TaskGroupInfo): string {
  return TaskGroupInfo_State[state];
}

/** The published parts of a sink, in order. */
export function partsOf(sink: string): string[] {
  return existsSync(sink)
    ? readdirSync(sink)
        .filter((name) => name !== '.staging')
        .sort()
    : [];
}

/** What is staged below a sink, however deep. */
export function stagedIn(sink: string): string[] {
  const room = join(sink, '.staging');
  return existsSync(room) ? readdirSync(room, { recursive: true }).map(String).sort() : [];
}

/** The first column of all rows in the published CSV parts, as numbers, sorted. */
export function idsIn(sink: string): number[] {
  return partsOf(sink)
    .flatMap((name) => readFileSync(join(sink, name), 'utf8').trim().split('\n').slice(1))
    .map((line) => Number.parseInt(line, 10))
    .sort((a, b) => a - b);
}

export function numbers(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => first + i);
}

/** Pids of the processes that this one has started. */
export function children(pid: number): number[] {
  return readdirSync(`/proc/${pid}/task`)
    .flatMap((task) => readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').split(' '))
    .filter((child) => child !== '')
    .map(Number);
}
