/** What every port of an engine shares: nodes, and what they say of an operation. Free of any wire protocol. */
export interface EngineNode {
  readonly nodeId: string;
  readonly ledgerId: string;
  readonly address: string;
}

/** What a node says of an operation. Ages and durations in milliseconds, by the node's own clock. */
export type OperationStatus =
  | { readonly state: 'PROCESSING'; readonly ageMs: number; readonly done: number; readonly total: number }
  | { readonly state: 'SUCCESS'; readonly durationMs: number }
  | { readonly state: 'FAIL'; readonly code: string; readonly message: string }
  | { readonly state: 'TASK_NOT_EXIST' }
  | Refused;

export interface Refused {
  readonly state: 'REFUSED';
  readonly code: 'STALE_EPOCH' | 'INVALID_ARGUMENT' | 'RESOURCE_EXHAUSTED' | 'UNSUPPORTED';
  readonly message: string;
  /** For STALE_EPOCH: the highest epoch that the node accepted for the resource. */
  readonly highestEpoch?: number;
  /** For RESOURCE_EXHAUSTED: ask again after this. */
  readonly retryAfterMs?: number;
}

/** The node did not answer: what became of the call is unknown (I1). */
export class NodeUnreachable extends Error {
  override readonly name = 'NodeUnreachable';
  constructor(
    readonly nodeId: string,
    reason: string,
    /** The caller's next call before that is not worth making. */
    readonly retryAfterMs: number,
    options?: ErrorOptions,
  ) {
    super(`${nodeId} does not answer: ${reason}`, options);
  }
}

/** The node answers that it can do nothing of the kind: it lacks the capability. */
export class NodeIncapable extends Error {
  override readonly name = 'NodeIncapable';
}

/** Somebody else answers at the node's address, or the node lost its ledger: nothing it says is believed. */
export class NodeMismatch extends Error {
  override readonly name = 'NodeMismatch';
}

/** Whether a call failed because the node that it was meant for did not answer: nothing is known of its effect (I1). */
export function isUnanswered(error: unknown): error is NodeUnreachable | NodeMismatch {
  return error instanceof NodeUnreachable || error instanceof NodeMismatch;
}
