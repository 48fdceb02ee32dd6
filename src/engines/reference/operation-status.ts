import { type Timestamp, timestampMs } from '@bufbuild/protobuf/wkt';
import { countEnds } from '../../metrics/node-operations.js';
import {
  OperationError_Code,
  OperationState,
  type OperationStatus as OperationStatusMessage,
  type Refusal,
  Refusal_Code,
} from '../../rpc/gen/steward/worker/v1/operation_pb.js';
import type { OperationStatus, Refused } from '../nodes.js';

/** What a node answers of these operations, in their order. Those that are over are counted. */
export function readStatuses(
  operationIds: readonly string[],
  {
    statuses,
    now,
  }: { readonly statuses: readonly OperationStatusMessage[]; readonly now?: Timestamp | undefined },
): OperationStatus[] {
  const read = operationIds.map((id, index) => readStatus(id, statuses[index], now));
  countEnds(operationIds, read);
  return read;
}

/** What the contract's status of an operation says. Throws when it is the status of another one. */
function readStatus(
  operationId: string,
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
