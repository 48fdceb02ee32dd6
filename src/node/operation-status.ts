import { create } from '@bufbuild/protobuf';
import { durationFromMs, timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  OperationError_Code,
  OperationErrorSchema,
  OperationState,
  type OperationStatus,
  OperationStatusSchema,
  Refusal_Code,
  ResourceStartedSchema,
} from '../rpc/gen/steward/worker/v1/operation_pb.js';
import type { FailCode, Outcome, PendingOperation, Progress } from './operation.js';

const FAIL_CODES: Readonly<Record<FailCode, OperationError_Code>> = {
  ALREADY_EXISTS: OperationError_Code.ALREADY_EXISTS,
  CANCELED: OperationError_Code.CANCELED,
  INTERRUPTED: OperationError_Code.INTERRUPTED,
  SUPERSEDED: OperationError_Code.SUPERSEDED,
  PEER_REMOVAL_FAILED: OperationError_Code.PEER_REMOVAL_FAILED,
  IO: OperationError_Code.IO,
  INTERNAL: OperationError_Code.INTERNAL,
};

export function processingStatus(operation: PendingOperation, progress: Progress): OperationStatus {
  return create(OperationStatusSchema, {
    operationId: operation.id,
    state: OperationState.PROCESSING,
    started: timestampFromMs(operation.acceptedAtMs),
    progress: toProgress(progress),
  });
}

export function endedStatus(operationId: string, acceptedAtMs: number, outcome: Outcome): OperationStatus {
  const status = create(OperationStatusSchema, {
    operationId,
    state: outcome.state === 'SUCCESS' ? OperationState.SUCCESS : OperationState.FAIL,
    started: timestampFromMs(acceptedAtMs),
    ended: timestampFromMs(outcome.endedAtMs),
    progress: toProgress(outcome.progress),
  });
  if (outcome.state === 'FAIL') {
    const { code, message } = outcome;
    status.error = create(OperationErrorSchema, { code: FAIL_CODES[code], message });
  } else if (outcome.resource !== undefined) {
    const { properties, ...started } = outcome.resource;
    const value = create(ResourceStartedSchema, { ...started, properties: { ...properties } });
    status.result = { case: 'resource', value };
  }
  return status;
}

/** Never accepted here. */
export function unknownStatus(operationId: string): OperationStatus {
  return create(OperationStatusSchema, { operationId, state: OperationState.TASK_NOT_EXIST });
}

export function invalidStatus(operationId: string, message: string): OperationStatus {
  return create(OperationStatusSchema, {
    operationId,
    state: OperationState.REFUSED,
    refusal: { code: Refusal_Code.INVALID_ARGUMENT, message },
  });
}

export function unsupportedStatus(operationId: string, verb: string): OperationStatus {
  return create(OperationStatusSchema, {
    operationId,
    state: OperationState.REFUSED,
    refusal: {
      code: Refusal_Code.UNSUPPORTED,
      message: `this node lacks the capability for ${verb}: GetNodeInfo lists what it has`,
    },
  });
}

export function staleEpochStatus(
  operationId: string,
  resource: string,
  epoch: number,
  highestEpoch: number,
): OperationStatus {
  return create(OperationStatusSchema, {
    operationId,
    state: OperationState.REFUSED,
    refusal: {
      code: Refusal_Code.STALE_EPOCH,
      message: `epoch ${epoch} of ${resource} is in the past: ${highestEpoch} was accepted`,
      highestEpoch: BigInt(highestEpoch),
    },
  });
}

export function resourceExhaustedStatus(
  operationId: string,
  reason: string,
  retryAfterMs: number,
): OperationStatus {
  return create(OperationStatusSchema, {
    operationId,
    state: OperationState.REFUSED,
    refusal: {
      code: Refusal_Code.RESOURCE_EXHAUSTED,
      message: `${reason}: ask again in ${retryAfterMs} ms`,
      retryAfter: durationFromMs(retryAfterMs),
    },
  });
}

function toProgress(progress: Progress): { done: bigint; total: bigint } {
  return { done: BigInt(progress.done), total: BigInt(progress.total) };
}
