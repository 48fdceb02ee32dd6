import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { RegionInfo_State } from '../../rpc/gen/steward/worker/v1/inventory_pb.js';
import {
  type OperationSchema,
  RegionKind,
  SubmitRequestSchema,
} from '../../rpc/gen/steward/worker/v1/operation_pb.js';
import type { EngineNode, OperationStatus } from '../nodes.js';
import type { RegionEngine, RegionOnNode, RegionOperation } from '../regions.js';
import type { NodeClients } from './node-clients.js';
import { readStatuses } from './operation-status.js';

/** Drives nodes that speak the worker contract (proto/steward/worker/v1). */
export class ReferenceRegionEngine implements RegionEngine {
  constructor(private readonly clients: NodeClients) {}

  async submit(node: EngineNode, operations: readonly RegionOperation[]): Promise<OperationStatus[]> {
    const request = create(SubmitRequestSchema, {
      node: { nodeId: node.nodeId, ledgerId: node.ledgerId },
      operations: operations.map(toMessage),
    });
    const response = await this.clients.call(node, (client) => client.operations.submit(request));
    return readStatuses(
      operations.map(({ operationId }) => operationId),
      response,
    );
  }

  async get(node: EngineNode, operationIds: readonly string[]): Promise<OperationStatus[]> {
    const ref = { nodeId: node.nodeId, ledgerId: node.ledgerId };
    const response = await this.clients.call(node, (client) =>
      client.operations.get({ node: ref, operationIds: [...operationIds] }),
    );
    return readStatuses(operationIds, response);
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
