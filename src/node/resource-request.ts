import type { Operation } from '../rpc/gen/steward/worker/v1/operation_pb.js';
import {
  MAX_OPTIMIZER_MEMORY_MB,
  MAX_OPTIMIZER_THREADS,
  MIN_OPTIMIZER_MEMORY_MB,
  REQUEST_NAME,
  UUID,
} from '../rules/bounds.js';
import type { ResourceKey, ResourceRequest } from './operation.js';

const MAX_PROPERTIES_BYTES = 64 * 1024;

type Request = Extract<Operation['request'], { case: 'requestResource' | 'releaseResource' }>;

/** The change of an optimizer resource that is asked for, or what is wrong with it (I10). */
export function readResourceRequest(request: Request): ResourceRequest | string {
  const { resource: ref } = request.value;
  if (ref === undefined || !UUID.test(ref.catalogId) || !REQUEST_NAME.test(ref.resourceId)) {
    return 'its resource field must name a catalog (UUID) and a resource id of 1 to 63 letters, digits or . _ -';
  }
  const resource: ResourceKey = { catalogId: ref.catalogId, resourceId: ref.resourceId };
  if (request.case === 'releaseResource') return { verb: 'release-resource', resource };
  const { group, threads, memoryMb, properties } = request.value;
  if (!REQUEST_NAME.test(group)) return 'group must be 1 to 63 letters, digits or . _ -';
  if (threads < 1 || threads > MAX_OPTIMIZER_THREADS) return `threads must be 1 to ${MAX_OPTIMIZER_THREADS}`;
  if (memoryMb < MIN_OPTIMIZER_MEMORY_MB || memoryMb > MAX_OPTIMIZER_MEMORY_MB) {
    return `memory_mb must be ${MIN_OPTIMIZER_MEMORY_MB} to ${MAX_OPTIMIZER_MEMORY_MB}`;
  }
  if (Buffer.byteLength(JSON.stringify(properties)) > MAX_PROPERTIES_BYTES) {
    return `properties must not have more than ${MAX_PROPERTIES_BYTES} bytes`;
  }
  return { verb: 'request-resource', resource, group, threads, memoryMb, properties: { ...properties } };
}
