import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  GetTaskResultResponse_State,
  type TaskResult,
} from '../../rpc/gen/steward/worker/v1/inventory_pb.js';
import { type OperationSchema, SubmitRequestSchema } from '../../rpc/gen/steward/worker/v1/operation_pb.js';
import type { EngineNode } from '../nodes.js';
import type {
  OptimizerEngine,
  ResourceOnNode,
  ResourceOperation,
  ResourceOperationStatus,
  TaskAnswer,
  TaskAttempt,
  TaskOutcome,
} from '../optimizers.js';
import type { NodeClients } from './node-clients.js';
import { readStatuses } from './operation-status.js';

/** Drives nodes that speak the worker contract (proto/steward/worker/v1). */
export class ReferenceOptimizerEngine implements OptimizerEngine {
  constructor(private readonly clients: NodeClients) {}

  async submit(
    node: EngineNode,
    operations: readonly ResourceOperation[],
  ): Promise<ResourceOperationStatus[]> {
    const request = create(SubmitRequestSchema, { node: refOf(node), operations: operations.map(toMessage) });
    const response = await this.clients.call(node, (client) => client.operations.submit(request));
    const statuses = readStatuses(
      operations.map(({ operationId }) => operationId),
      response,
    );
    return statuses.map((status, index) => {
      const message = response.statuses[index];
      if (status.state !== 'SUCCESS' || message?.result.case !== 'resource') return status;
      const { processId, threads, memoryMb, properties } = message.result.value;
      return { ...status, started: { processId, threads, memoryMb, properties } };
    });
  }

  async *listResources(node: EngineNode, catalogId: string): AsyncIterable<ResourceOnNode> {
    let pageToken = '';
    do {
      const request = { node: refOf(node), pageSize: 1_000, pageToken, catalogId };
      const page = await this.clients.call(node, (client) => client.inventory.listResources(request));
      for (const { resource, group, epoch, processId, running, unacknowledged } of page.resources) {
        if (resource?.catalogId !== catalogId) continue;
        const { resourceId } = resource;
        yield { resourceId, group, epoch: Number(epoch), processId, running, unacknowledged };
      }
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
  }

  async getTaskResult(node: EngineNode, { resource, taskId, attempt }: TaskAttempt): Promise<TaskAnswer> {
    const request = { node: refOf(node), resource: { ...resource }, taskId, attempt };
    const { state, result } = await this.clients.call(node, (client) =>
      client.inventory.getTaskResult(request),
    );
    switch (state) {
      case GetTaskResultResponse_State.RESULT:
        return { kind: 'RESULT', outcome: outcomeOf(taskId, result) };
      case GetTaskResultResponse_State.RUNNING:
        return { kind: 'RUNNING' };
      case GetTaskResultResponse_State.NONE:
        return { kind: 'NONE' };
      case GetTaskResultResponse_State.UNSPECIFIED:
        throw new Error(`${node.nodeId} did not say what became of task ${taskId}`);
    }
  }
}

function refOf({ nodeId, ledgerId }: EngineNode) {
  return { nodeId, ledgerId };
}

function toMessage({
  operationId,
  epoch,
  resource,
  change,
}: ResourceOperation): MessageInitShape<typeof OperationSchema> {
  const { verb, ...wanted } = change;
  return {
    operationId,
    epoch: BigInt(epoch),
    request:
      verb === 'request-resource'
        ? { case: 'requestResource', value: { ...wanted, resource: { ...resource } } }
        : { case: 'releaseResource', value: { resource: { ...resource } } },
  };
}

function outcomeOf(taskId: string, result: TaskResult | undefined): TaskOutcome {
  switch (result?.outcome.case) {
    case 'merged': {
      const { outputs } = result.outcome.value;
      return {
        kind: 'MERGED',
        outputs: outputs.map(({ path, rows, bytes }) => ({
          path,
          rows: Number(rows),
          bytes: Number(bytes),
        })),
      };
    }
    case 'error':
      return { kind: 'ERROR', error: result.outcome.value };
    case undefined:
      throw new Error(`the result of task ${taskId} says neither what was merged nor why not`);
  }
}
