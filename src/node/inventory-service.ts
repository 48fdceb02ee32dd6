import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError, type ServiceImpl } from '@connectrpc/connect';
import { type InventoryService, RegionInfo_State } from '../rpc/gen/steward/worker/v1/inventory_pb.js';
import { RegionKind } from '../rpc/gen/steward/worker/v1/operation_pb.js';
import { invalidToken, pageSize } from './inventory-pages.js';
import type { Ledger } from './ledger.js';
import { checkNodeRef, type NodeIdentity } from './node-identity.js';
import { formatRegion, parseRegion, type RegionKey } from './region-key.js';
import type { FoundRegion, RegionStore } from './region-store.js';
import type { ResourceInventory } from './resource-inventory.js';
import type { TaskGroupInventory } from './task-groups/inventory.js';

/** What is on the node, whether an operation made it or not (I4). Changes nothing. */
export function inventoryService(
  store: RegionStore,
  ledger: Ledger,
  identity: NodeIdentity,
  resources: ResourceInventory | undefined,
  taskGroups: TaskGroupInventory | undefined,
): ServiceImpl<typeof InventoryService> {
  const toInfo = (found: FoundRegion) => ({
    region: { catalogId: found.region.catalogId, groupId: BigInt(found.region.groupId) },
    database: found.database,
    kind: found.kind === undefined ? RegionKind.UNSPECIFIED : RegionKind[found.kind],
    state: RegionInfo_State[found.state],
    epoch: BigInt(ledger.highestEpoch(`region/${formatRegion(found.region)}`)),
    sizeBytes: BigInt(found.sizeBytes),
    age: durationFromMs(Math.max(0, Math.round(Date.now() - found.appearedAtMs))),
  });

  return {
    async listRegions(request) {
      checkNodeRef(request.node, identity);
      const limit = pageSize(request.pageSize);
      const after = regionAfter(request.pageToken);
      const catalogId = request.catalogId === '' ? undefined : request.catalogId;
      const found = await store.list({ limit: limit + 1, after, catalogId });
      const page = found.slice(0, limit);
      const last = page.at(-1);
      return {
        regions: page.map(toInfo),
        nextPageToken: found.length > limit && last !== undefined ? formatRegion(last.region) : '',
      };
    },

    listEpochs(request) {
      checkNodeRef(request.node, identity);
      const limit = pageSize(request.pageSize);
      if (Buffer.byteLength(request.pageToken) > 512) throw invalidToken(request.pageToken);
      const found = ledger.epochs(request.pageToken, limit + 1);
      const page = found.slice(0, limit);
      return {
        epochs: page.map(({ resource, epoch }) => ({ resource, epoch: BigInt(epoch) })),
        nextPageToken: found.length > limit ? page.at(-1)!.resource : '',
      };
    },

    listResources: () => lacks('resources'),
    getTaskResult: () => lacks('resources'),
    ...resources,
    listTaskGroups: () => lacks('task-groups'),
    ...taskGroups,
  };
}

function lacks(capability: string): never {
  throw new ConnectError(`this node lacks the capability ${capability}`, Code.Unimplemented);
}

function regionAfter(token: string): RegionKey | undefined {
  if (token === '') return undefined;
  const region = parseRegion(token);
  if (region === undefined) throw invalidToken(token);
  return region;
}
