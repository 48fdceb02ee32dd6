import { isAbsolute } from 'node:path';
import { durationMs } from '@bufbuild/protobuf/wkt';
import type {
  TaskGroupCheckpoint as CheckpointMessage,
  DeployTaskGroup as DeployMessage,
  Operation,
  TaskGroupSource as SourceMessage,
  TaskGroupRef,
} from '../rpc/gen/steward/worker/v1/operation_pb.js';
import { MAX_SUBTASKS, REQUEST_NAME, UUID } from '../rules/bounds.js';
import type { TaskGroupLocation } from '../rules/operation-id.js';
import type { FileFormat, TaskGroupCheckpoint, TaskGroupRequest, TaskGroupSource } from './operation.js';

const FORMATS: readonly string[] = ['csv', 'ndjson', 'parquet'] satisfies FileFormat[];

type Request = Extract<Operation['request'], { case: 'deployTaskGroup' | 'cancelTaskGroup' }>;

/** The change of a task group that is asked for, or what is wrong with it (I10). */
export function readTaskGroupRequest(request: Request): TaskGroupRequest | string {
  const location = readLocation(request.value.taskGroup);
  if (location === undefined) {
    return 'its task_group field must name a catalog (UUID), a job id of 1 to 63 letters, digits or . _ -, pipeline and task group';
  }
  if (request.case === 'cancelTaskGroup') {
    return { verb: 'cancel-task-group', location, savepoint: request.value.savepoint };
  }
  return readDeployment(location, request.value);
}

function readDeployment(location: TaskGroupLocation, value: DeployMessage): TaskGroupRequest | string {
  const { owner, transform, sink, parallelism, checkpointInterval, restore } = value;
  if (!UUID.test(owner)) return 'owner must be a UUID';
  const source = readSource(value.source);
  if (typeof source === 'string') return source;
  if (sink === undefined || !isAbsolute(sink.directory) || !isFormat(sink.format)) {
    return 'sink must have an absolute directory, and csv, ndjson or parquet as its format';
  }
  if (parallelism < 1 || parallelism > MAX_SUBTASKS) return `parallelism must be 1 to ${MAX_SUBTASKS}`;
  const checkpointIntervalMs = checkpointInterval === undefined ? undefined : durationMs(checkpointInterval);
  if (checkpointIntervalMs !== undefined && !(checkpointIntervalMs > 0)) {
    return 'checkpoint_interval must be longer than 0';
  }
  return {
    verb: 'deploy-task-group',
    location,
    owner,
    source,
    transform,
    sink: { directory: sink.directory, format: sink.format },
    parallelism,
    ...(checkpointIntervalMs === undefined ? {} : { checkpointIntervalMs }),
    ...(restore === undefined ? {} : { restore: readCheckpoint(restore) }),
  };
}

function readSource(source: SourceMessage | undefined): TaskGroupSource | string {
  const { case: kind, value } = source?.kind ?? { case: undefined };
  switch (kind) {
    case 'files': {
      const { paths, format } = value;
      if (paths.length === 0 || !paths.every(isAbsolute) || !isFormat(format)) {
        return 'source.files must have absolute paths, and csv, ndjson or parquet as its format';
      }
      return { kind, paths: [...paths], format };
    }
    case 'rate': {
      const { first, rows, rowsPerSecond } = value;
      if (rowsPerSecond === 0) return 'source.rate must make at least 1 row a second';
      return { kind, first: Number(first), rows: Number(rows), rowsPerSecond };
    }
    case undefined:
      return 'source must be files or rate';
    default:
      return `unknown source ${String(kind satisfies never)}`;
  }
}

function readCheckpoint(checkpoint: CheckpointMessage): TaskGroupCheckpoint {
  return {
    checkpointId: Number(checkpoint.checkpointId),
    position: Buffer.from(checkpoint.position).toString('base64'),
    parts: checkpoint.parts.map(({ staged, published, rows, bytes }) => ({
      staged,
      published,
      rows: Number(rows),
      bytes: Number(bytes),
    })),
    rowsIn: Number(checkpoint.rowsIn),
    rowsOut: Number(checkpoint.rowsOut),
  };
}

function readLocation(ref: TaskGroupRef | undefined): TaskGroupLocation | undefined {
  if (ref === undefined || !UUID.test(ref.catalogId) || !REQUEST_NAME.test(ref.jobId)) return undefined;
  return { catalogId: ref.catalogId, jobId: ref.jobId, pipeline: ref.pipeline, taskGroup: ref.taskGroup };
}

function isFormat(format: string): format is FileFormat {
  return FORMATS.includes(format);
}
