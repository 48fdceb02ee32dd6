import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { type Timestamp, timestampMs } from '@bufbuild/protobuf/wkt';
import { RegionInfo_State } from '../../rpc/gen/steward/worker/v1/inventory_pb.js';
import {
  OperationError_Code,
  type OperationSchema,
  OperationState,
  type OperationStatus as OperationStatusMessage,
  type Refusal,
  Refusal_Code,
  RegionKind,
  SubmitRequestSchema,
} from '../../rpc/gen/steward/worker/v1/operation_pb.js';
import type { NodeClients } from '../../rpc/node-clients.js';
import type {
  EngineNode,
  OperationStatus,
  Refused,
  RegionEngine,
  RegionOnNode,
  RegionOperation,
} from '../regions.js';

/** Drives nodes that speak the worker contract (proto/steward/worker/v1). */
export class ReferenceRegionEngine implements RegionEngine {
  constructor(private readonly clients: NodeClients) {}

  async submit(node: EngineNode, operations: readonly RegionOperation[]): Promise<OperationStatus[]> {
    const request = create(SubmitRequestSchema, {
      node: { nodeId: node.nodeId, ledgerId: node.ledgerId },
      operations: operations.map(toMessage),
    });
    const response = await this.clients.call(node, (client) => client.operations.submit(request));
    return operations.map((operation, index) => toStatus(operation, response.statuses[index], response.now));
  }

  async *listRegions(node: EngineNode, catalogId: string): AsyncIterable<RegionOnNode> {
    const ref = { nodeId: node.nodeId, ledgerId: node.ledgerId };
    let pageToken = '';
    do {
      const request = { node: ref, pageSize: 1_000, pageToken, catalogId };
      const page = await this.clients.call(node, (client) => client.inventory.listRegions(request));
      for (const { region, state, epoch } of page.regions) {
        if (region?.catalogId !== catalogId) continue;
        yield {
          groupId: Number(region.groupId),
          deleting: state === RegionInfo_State.DELETING,
          epoch: Number(epoch),
        };
      }
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
  }
}

const KINDS = { SCHEMA: RegionKind.SCHEMA, DATA: RegionKind.DATA } as const;

function toMessage({
  operationId,
  epoch,
  region,
  change,
}: RegionOperation): MessageInitShape<typeof OperationSchema> {
  const ref = { catalogId: region.catalogId, groupId: BigInt(region.groupId) };
  return {
    operationId,
    epoch: BigInt(epoch),
    request:
      change.verb === 'create-region'
        ? {
            case: 'createRegion',
            value: {
              region: ref,
              database: change.database,
              kind: KINDS[change.kind],
              peers: [...change.peers],
            },
          }
        : { case: 'deleteRegion', value: { region: ref } },
  };
}

function toStatus(
  { operationId }: RegionOperation,
  status: OperationStatusMessage | undefined,
  now: Timestamp | undefined,
): OperationStatus {
  if (status === undefined || status.operationId !== operationId) {
    throw new Error(`the node answered ${status?.operationId ?? 'nothing'} where ${operationId} was asked`);
  }
  switch (status.state) {
    case OperationState.PROCESSING:
      return {
        state: 'PROCESSING',
        ageMs: elapsedMs(status.started, now),
        done: Number(status.progress?.done ?? 0n),
        total: Number(status.progress?.total ?? 0n),
      };
    case OperationState.SUCCESS:
      return { state: 'SUCCESS', durationMs: elapsedMs(status.started, status.ended) };
    case OperationState.FAIL:
      return {
        state: 'FAIL',
        code: OperationError_Code[status.error?.code ?? OperationError_Code.UNSPECIFIED],
        message: status.error?.message ?? 'no reason given',
      };
    case OperationState.TASK_NOT_EXIST:
      return { state: 'TASK_NOT_EXIST' };
    case OperationState.REFUSED:
      return toRefused(status.refusal);
    case OperationState.UNSPECIFIED:
      throw new Error(`the node gave no state for ${operationId}`);
  }
}

function toRefused(refusal: Refusal | undefined): Refused {
  const message = refusal?.message ?? 'no reason given';
  switch (refusal?.code) {
    case Refusal_Code.STALE_EPOCH:
      return { state: 'REFUSED', code: 'STALE_EPOCH', message, highestEpoch: Number(refusal.highestEpoch) };
    case Refusal_Code.RESOURCE_EXHAUSTED:
      return {
        state: 'REFUSED',
        code: 'RESOURCE_EXHAUSTED',
        message,
        retryAfterMs:
          Number(refusal.retryAfter?.seconds ?? 0n) * 1_000 + (refusal.retryAfter?.nanos ?? 0) / 1e6,
      };
    case Refusal_Code.UNSUPPORTED:
      return { state: 'REFUSED', code: 'UNSUPPORTED', message };
    case Refusal_Code.INVALID_ARGUMENT:
    case Refusal_Code.UNSPECIFIED:
    case undefined:
      return { state: 'REFUSED', code: 'INVALID_ARGUMENT', message };
  }
}

function elapsedMs(from: Timestamp | undefined, to: Timestamp | undefined): number {
  return from === undefined || to === undefined ? 0 : Math.max(0, timestampMs(to) - timestampMs(from));
}
