import type { MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import {
  TaskGroupInfo_State,
  type TaskGroupInfoSchema,
} from '../../rpc/gen/steward/worker/v1/inventory_pb.js';
import type {
  TaskGroupCheckpointSchema,
  TaskGroupRefSchema,
} from '../../rpc/gen/steward/worker/v1/operation_pb.js';
import type { TaskGroupLocation } from '../../rules/operation-id.js';
import type { TaskGroupCheckpoint } from '../operation.js';
import type { TaskGroupRecord } from './record.js';

export function toRef(location: TaskGroupLocation): MessageInitShape<typeof TaskGroupRefSchema> {
  return { ...location };
}

/** @param idleMs since a row was read or a checkpoint was committed; only for RUNNING */
export function toTaskGroupInfo(
  record: TaskGroupRecord,
  idleMs?: number,
): MessageInitShape<typeof TaskGroupInfoSchema> {
  return {
    taskGroup: toRef(record.location),
    owner: record.owner,
    execution: BigInt(record.execution),
    state: TaskGroupInfo_State[record.state],
    rowsIn: BigInt(record.rowsIn),
    rowsOut: BigInt(record.rowsOut),
    checkpointId: BigInt(record.checkpointId),
    error: record.error ?? '',
    acknowledged: record.acknowledgedAtMs !== undefined,
    ...(idleMs === undefined ? {} : { idle: durationFromMs(Math.max(0, Math.round(idleMs))) }),
  };
}

export function toCheckpointMessage(
  checkpoint: TaskGroupCheckpoint,
): MessageInitShape<typeof TaskGroupCheckpointSchema> {
  return {
    checkpointId: BigInt(checkpoint.checkpointId),
    position: Buffer.from(checkpoint.position, 'base64'),
    parts: checkpoint.parts.map(({ staged, published, rows, bytes }) => ({
      staged,
      published,
      rows: BigInt(rows),
      bytes: BigInt(bytes),
    })),
    rowsIn: BigInt(checkpoint.rowsIn),
    rowsOut: BigInt(checkpoint.rowsOut),
  };
}
