import { type Operation, RegionKind, type RegionRef } from '../rpc/gen/steward/worker/v1/operation_pb.js';
import { MAX_GROUP_ID, UUID } from '../rules/bounds.js';
import type { RegionRequest } from './operation.js';
import type { RegionKey } from './region-key.js';

const MAX_NAME_BYTES = 255;
const MAX_PEERS = 64;

const KINDS = new Map([
  [RegionKind.SCHEMA, 'SCHEMA' as const],
  [RegionKind.DATA, 'DATA' as const],
]);

type Request = Extract<Operation['request'], { case: 'createRegion' | 'deleteRegion' }>;

/** The change of a region that is asked for, or what is wrong with it (I10). */
export function readRegionRequest(request: Request, nodeId: string): RegionRequest | string {
  const region = readRegion(request.value.region);
  if (region === undefined)
    return `its region field must name a catalog (UUID) and a group id from 1 to ${MAX_GROUP_ID}`;
  if (request.case === 'deleteRegion') return { verb: 'delete-region', region };
  const { database, kind: asked, peers } = request.value;
  const kind = KINDS.get(asked);
  if (kind === undefined) return 'kind must be SCHEMA or DATA';
  if (!isName(database)) return `database must have 1 to ${MAX_NAME_BYTES} bytes`;
  if (peers.length > MAX_PEERS || !peers.every(isName) || !peers.includes(nodeId)) {
    return `peers must be 1 to ${MAX_PEERS} node ids, ${nodeId} among them`;
  }
  return { verb: 'create-region', region, database, kind, peers: [...peers] };
}

function readRegion(ref: RegionRef | undefined): RegionKey | undefined {
  if (ref === undefined || !UUID.test(ref.catalogId)) return undefined;
  if (ref.groupId < 1n || ref.groupId > BigInt(MAX_GROUP_ID)) return undefined;
  return { catalogId: ref.catalogId, groupId: Number(ref.groupId) };
}

function isName(name: string): boolean {
  return name !== '' && Buffer.byteLength(name) <= MAX_NAME_BYTES;
}
