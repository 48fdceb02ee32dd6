import type { Operation } from '../rpc/gen/steward/worker/v1/operation_pb.js';
import { parseOperationId, type Verb } from '../rules/operation-id.js';
import { type NodeRequest, resourceOf } from './operation.js';
import { readRegionRequest } from './region-request.js';
import { readResourceRequest } from './resource-request.js';
import { readTaskGroupRequest } from './task-group-request.js';

/** What an entry of a batch turned out to be; `problem` says what is wrong with it. */
export type Reading =
  | { readonly ok: true; readonly id: string; readonly epoch: number; readonly request: NodeRequest }
  | { readonly ok: false; readonly problem: string };

const VERB_OF = {
  createRegion: 'create-region',
  deleteRegion: 'delete-region',
  deployTaskGroup: 'deploy-task-group',
  cancelTaskGroup: 'cancel-task-group',
  requestResource: 'request-resource',
  releaseResource: 'release-resource',
} as const satisfies Record<NonNullable<Operation['request']['case']>, Verb>;

/** Reads one entry of a batch for the node: an id that says the same as its request, and a request that is whole (I10). */
export function readOperation(operation: Operation, nodeId: string): Reading {
  const id = operation.operationId;
  const bad = (problem: string): Reading => ({ ok: false, problem: `operation ${id}${problem}` });
  const key = parseOperationId(id);
  if (key === undefined) {
    return {
      ok: false,
      problem: `operation id ${quote(id)} is not <verb>/<catalog id>/<path>/<node>@<epoch>#<attempt>`,
    };
  }
  if (key.nodeId !== nodeId) return bad(` is for node ${key.nodeId}, this is ${nodeId}`);
  if (key.epoch === 0 || key.attempt === 0) return bad(': epoch and attempt start at 1');
  if (operation.epoch !== BigInt(key.epoch)) return bad(`: its epoch field is ${operation.epoch}`);
  if (operation.request.case === undefined) return bad(' has no request');
  if (key.verb !== VERB_OF[operation.request.case]) return bad(` holds a ${VERB_OF[operation.request.case]}`);
  const read = readRequest(operation.request, nodeId);
  if (typeof read === 'string') return bad(`: ${read}`);
  const [, ...path] = resourceOf(read).split('/');
  if (path.join('/') !== key.path) return bad(`: its request names another resource, ${path.join('/')}`);
  return { ok: true, id, epoch: key.epoch, request: read };
}

function readRequest(request: Operation['request'], nodeId: string): NodeRequest | string {
  switch (request.case) {
    case 'createRegion':
    case 'deleteRegion':
      return readRegionRequest(request, nodeId);
    case 'requestResource':
    case 'releaseResource':
      return readResourceRequest(request);
    case 'deployTaskGroup':
    case 'cancelTaskGroup':
      return readTaskGroupRequest(request);
    case undefined:
      return 'there is no request';
    default:
      return `unknown request ${String(request satisfies never)}`;
  }
}

function quote(text: string): string {
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}...` : text);
}
