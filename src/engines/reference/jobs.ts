import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs, durationMs } from '@bufbuild/protobuf/wkt';
import { type TaskGroupInfo, TaskGroupInfo_State } from '../../rpc/gen/steward/worker/v1/inventory_pb.js';
import {
  type DeployTaskGroupSchema,
  type OperationSchema,
  SubmitRequestSchema,
  type TaskGroupCheckpointSchema,
} from '../../rpc/gen/steward/worker/v1/operation_pb.js';
import type { TaskGroupLocation } from '../../rules/operation-id.js';
import type {
  JobEngine,
  RestoredCheckpoint,
  TaskGroupDeployment,
  TaskGroupOnNode,
  TaskGroupOperation,
} from '../jobs.js';
import type { EngineNode, OperationStatus } from '../nodes.js';
import type { NodeClients } from './node-clients.js';
import { readStatuses } from './operation-status.js';

/** Drives nodes that speak the worker contract (proto/steward/worker/v1). */
export class ReferenceJobEngine implements JobEngine {
  constructor(private readonly clients: NodeClients) {}

  async submit(node: EngineNode, operations: readonly TaskGroupOperation[]): Promise<OperationStatus[]> {
    const request = create(SubmitRequestSchema, {
      node: { nodeId: node.nodeId, ledgerId: node.ledgerId },
      operations: operations.map(operationMessage),
    });
    const response = await this.clients.call(node, (client) => client.operations.submit(request));
    return readStatuses(
      operations.map(({ operationId }) => operationId),
      response,
    );
  }

  async listTaskGroups(node: EngineNode, catalogId: string, jobId: string): Promise<TaskGroupOnNode[]> {
    const ref = { nodeId: node.nodeId, ledgerId: node.ledgerId };
    const found: TaskGroupOnNode[] = [];
    let pageToken = '';
    do {
      const request = { node: ref, pageSize: 1_000, pageToken, catalogId, jobId };
      const page = await this.clients.call(node, (client) => client.inventory.listTaskGroups(request));
      for (const info of page.taskGroups) {
        const ours = info.taskGroup?.catalogId === catalogId && info.taskGroup.jobId === jobId;
        const one = ours ? taskGroupOnNode(info) : undefined;
        if (one !== undefined) found.push(one);
      }
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    return found;
  }
}

const STATES = {
  [TaskGroupInfo_State.UNSPECIFIED]: undefined,
  [TaskGroupInfo_State.RUNNING]: 'RUNNING',
  [TaskGroupInfo_State.FINISHED]: 'FINISHED',
  [TaskGroupInfo_State.FAILED]: 'FAILED',
  [TaskGroupInfo_State.CANCELED]: 'CANCELED',
} as const;

function taskGroupOnNode(info: TaskGroupInfo): TaskGroupOnNode | undefined {
  const state = STATES[info.state];
  if (state === undefined || info.taskGroup === undefined) return undefined;
  return {
    pipeline: info.taskGroup.pipeline,
    taskGroup: info.taskGroup.taskGroup,
    execution: Number(info.execution),
    state,
    rowsIn: Number(info.rowsIn),
    rowsOut: Number(info.rowsOut),
    idleMs: info.idle === undefined ? 0 : durationMs(info.idle),
    error: info.error,
  };
}

function operationMessage({
  operationId,
  epoch,
  location,
  change,
}: TaskGroupOperation): MessageInitShape<typeof OperationSchema> {
  return {
    operationId,
    epoch: BigInt(epoch),
    request:
      change.verb === 'deploy-task-group'
        ? { case: 'deployTaskGroup', value: deploymentMessage(location, change) }
        : { case: 'cancelTaskGroup', value: { taskGroup: { ...location }, savepoint: change.savepoint } },
  };
}

function deploymentMessage(
  location: TaskGroupLocation,
  { owner, source, transform, sink, parallelism, checkpointIntervalMs, restore }: TaskGroupDeployment,
): MessageInitShape<typeof DeployTaskGroupSchema> {
  return {
    taskGroup: { ...location },
    owner,
    source: {
      kind:
        source.kind === 'files'
          ? { case: 'files', value: { paths: [...source.paths], format: source.format } }
          : {
              case: 'rate',
              value: {
                first: BigInt(source.first),
                rows: BigInt(source.rows),
                rowsPerSecond: source.rowsPerSecond,
              },
            },
    },
    transform,
    sink: { ...sink },
    parallelism,
    ...(checkpointIntervalMs !== undefined && { checkpointInterval: durationFromMs(checkpointIntervalMs) }),
    ...(restore && { restore: checkpointMessage(restore) }),
  };
}

function checkpointMessage(restore: RestoredCheckpoint): MessageInitShape<typeof TaskGroupCheckpointSchema> {
  return {
    checkpointId: BigInt(restore.checkpointId),
    position: restore.position,
    parts: restore.parts.map(({ staged, published, rows, bytes }) => ({
      staged,
      published,
      rows: BigInt(rows),
      bytes: BigInt(bytes),
    })),
    rowsIn: BigInt(restore.rowsIn),
    rowsOut: BigInt(restore.rowsOut),
  };
}
