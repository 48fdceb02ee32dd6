import { type Operation, RegionKind, type RegionRef } from '../rpc/gen/steward/worker/v1/operation_pb.js';
import { formatOperationId, parseOperationId } from '../rules/operation-id.js';
import type { RegionRequest } from './operation.js';
import type { RegionKey } from './region-key.js';

/** What an entry of a batch turned out to be; `problem` says what is wrong with it. */
export type Reading =
  | { readonly ok: true; readonly id: string; readonly epoch: number; readonly request: RegionRequest }
  | { readonly ok: false; readonly problem: string };

const MAX_NAME_BYTES = 255;
const MAX_PEERS = 64;

/** Reads one entry of a batch for the node: an id that says the same as its request, and a request that is whole (I10). */
export function readOperation(operation: Operation, nodeId: string): Reading {
  const id = operation.operationId;
  const key = parseOperationId(id);
  if (key === undefined || formatOperationId(key) !== id || key.groupId === 0) {
    return bad(`operation id ${quote(id)} is not <verb>/<catalog id>/<group id>/<node>@<epoch>#<attempt>`);
  }
  if (key.nodeId !== nodeId) return bad(`operation ${id} is for node ${key.nodeId}, this is ${nodeId}`);
  if (key.epoch === 0 || key.attempt === 0) return bad(`operation ${id}: epoch and attempt start at 1`);
  if (operation.epoch !== BigInt(key.epoch))
    return bad(`operation ${id}: its epoch field is ${operation.epoch}`);
  const { case: verb, value } = operation.request;
  if (verb === undefined) return bad(`operation ${id} has no request`);
  const region: RegionKey = { catalogId: key.catalogId, groupId: key.groupId };
  if (!isSame(value.region, region)) return bad(`operation ${id}: its region field names another region`);
  switch (verb) {
    case 'createRegion': {
      if (key.verb !== 'create-region') return bad(`operation ${id} holds a create_region`);
      const kind = KINDS.get(value.kind);
      if (kind === undefined) return bad(`operation ${id}: kind must be SCHEMA or DATA`);
      if (!isName(value.database)) {
        return bad(`operation ${id}: database must have 1 to ${MAX_NAME_BYTES} bytes`);
      }
      if (value.peers.length > MAX_PEERS || !value.peers.every(isName) || !value.peers.includes(nodeId)) {
        return bad(`operation ${id}: peers must be 1 to ${MAX_PEERS} node ids, ${nodeId} among them`);
      }
      const request = { verb: key.verb, region, database: value.database, kind, peers: [...value.peers] };
      return { ok: true, id, epoch: key.epoch, request };
    }
    case 'deleteRegion':
      if (key.verb !== 'delete-region') return bad(`operation ${id} holds a delete_region`);
      return { ok: true, id, epoch: key.epoch, request: { verb: key.verb, region } };
    default:
      return bad(`operation ${id}: unknown request ${String(verb satisfies never)}`);
  }
}

const KINDS = new Map([
  [RegionKind.SCHEMA, 'SCHEMA' as const],
  [RegionKind.DATA, 'DATA' as const],
]);

function bad(problem: string): Reading {
  return { ok: false, problem };
}

function isSame(ref: RegionRef | undefined, region: RegionKey): boolean {
  return ref !== undefined && ref.catalogId === region.catalogId && ref.groupId === BigInt(region.groupId);
}

function isName(name: string): boolean {
  return name !== '' && Buffer.byteLength(name) <= MAX_NAME_BYTES;
}

function quote(text: string): string {
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}...` : text);
}
