import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  OperationError_Code,
  type OperationSchema,
  OperationState,
  type OperationStatus,
  Refusal_Code,
  RegionKind,
} from '../rpc/gen/steward/worker/v1/operation_pb.js';
import { demand } from './violation.js';

/** An operation as a check sends it; it may be deliberately malformed. */
export interface Asked {
  readonly operationId: string;
  readonly epoch: bigint;
  readonly request?: NonNullable<MessageInitShape<typeof OperationSchema>['request']>;
}

export interface Attempt {
  /** Default: 1. */
  readonly epoch?: number;
  /** Default: 1. */
  readonly attempt?: number;
  /** Default: the node under test. */
  readonly nodeId?: string;
}

export interface CreationAttempt extends Attempt {
  readonly database?: string;
  readonly kind?: RegionKind;
}

/** Where an operation is to happen. */
export interface Place {
  readonly catalogId: string;
  readonly groupId: number;
  readonly nodeId: string;
}

export function creationAt(place: Place, ask: CreationAttempt = {}): Asked {
  const { epoch = 1, attempt = 1, nodeId = place.nodeId, database = 'conformance' } = ask;
  const region = { catalogId: place.catalogId, groupId: BigInt(place.groupId) };
  return {
    operationId: `create-region/${place.catalogId}/${place.groupId}/${nodeId}@${epoch}#${attempt}`,
    epoch: BigInt(epoch),
    request: {
      case: 'createRegion',
      value: { region, database, kind: ask.kind ?? RegionKind.DATA, peers: [nodeId] },
    },
  };
}

export function deletionAt(place: Place, ask: Attempt = {}): Asked {
  const { epoch = 1, attempt = 1, nodeId = place.nodeId } = ask;
  const region = { catalogId: place.catalogId, groupId: BigInt(place.groupId) };
  return {
    operationId: `delete-region/${place.catalogId}/${place.groupId}/${nodeId}@${epoch}#${attempt}`,
    epoch: BigInt(epoch),
    request: { case: 'deleteRegion', value: { region } },
  };
}

/** The group id in the id of an operation that {@link creationAt} or {@link deletionAt} made. */
export function groupOf({ operationId }: Asked): number {
  return Number(operationId.split('/')[2]);
}

/** A status in a word: `SUCCESS`, `FAIL(IO)`, `REFUSED(STALE_EPOCH)`, ... */
export function say(status: OperationStatus): string {
  const state = OperationState[status.state] ?? `state ${status.state}`;
  if (status.state === OperationState.FAIL) {
    return `${state}(${OperationError_Code[status.error?.code ?? 0] ?? status.error?.code})`;
  }
  if (status.state === OperationState.REFUSED) {
    return `${state}(${Refusal_Code[status.refusal?.code ?? 0] ?? status.refusal?.code})`;
  }
  return state;
}

/** Throws a Violation unless the status is one of these words; `FAIL` and `REFUSED` stand for any reason. */
export function demandSaid(status: OperationStatus, ...words: readonly string[]): void {
  const said = say(status);
  const fits = words.some((word) => said === word || said.startsWith(`${word}(`));
  demand(fits, `${words.join(' or ')} for ${status.operationId}`, said, status);
}

/** Throws a Violation unless both statuses say the same of one operation, to the last field. */
export function demandSameStatus(status: OperationStatus, before: OperationStatus, when: string): void {
  const was = describe(before);
  demand(describe(status) === was, `${when}, the same as before: ${was}`, () => describe(status), status);
}

/** All that is final in a status. */
export function describe(status: OperationStatus): string {
  const { progress, error } = status;
  return [
    `${status.operationId} ${say(status)}`,
    `started ${timeText(status.started)}`,
    `ended ${timeText(status.ended)}`,
    ...(progress === undefined ? [] : [`progress ${progress.done}/${progress.total}`]),
    ...(error === undefined ? [] : [`"${error.message}"`]),
  ].join(', ');
}

interface Time {
  readonly seconds: bigint;
  readonly nanos: number;
}

export function timeText(time: Time | undefined): string {
  return time === undefined ? 'never' : `${time.seconds}.${String(time.nanos).padStart(9, '0')}`;
}

/** Whether the first time is not after the second one; false when one of them is missing. */
export function isOrdered(first: Time | undefined, second: Time | undefined): boolean {
  if (first === undefined || second === undefined) return false;
  return first.seconds < second.seconds || (first.seconds === second.seconds && first.nanos <= second.nanos);
}
