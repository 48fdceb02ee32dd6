import type { RegionKind } from '../rules/words.js';

/**
 * The port between Steward's region activities and an engine's nodes. Free of any wire protocol: a driver translates.
 * Every call may be repeated; a call that fails says nothing about the operations (I1).
 */
export interface RegionEngine {
  /**
   * Submits operations to one node, or asks again about operations submitted before: at most 250. Answers one status for
   * each, in their order. Throws {@link NodeUnreachable} when the node did not answer, and {@link NodeMismatch} when
   * another one did.
   */
  submit(node: EngineNode, operations: readonly RegionOperation[]): Promise<OperationStatus[]>;

  /**
   * Every region of this catalog of which anything is left on the node, whether the catalog knows it or not. Throws like
   * `submit`.
   */
  listRegions(node: EngineNode, catalogId: string): AsyncIterable<RegionOnNode>;
}

export interface RegionOnNode {
  readonly groupId: number;
  /** Its deletion has begun on the node. */
  readonly deleting: boolean;
  /** Highest epoch that the node accepted for it; 0 when it came about without any operation. */
  readonly epoch: number;
}

export interface EngineNode {
  readonly nodeId: string;
  readonly ledgerId: string;
  readonly address: string;
}

export interface RegionOperation {
  readonly operationId: string;
  readonly epoch: number;
  readonly region: { readonly catalogId: string; readonly groupId: number };
  readonly change:
    | {
        readonly verb: 'create-region';
        readonly database: string;
        readonly kind: RegionKind;
        readonly peers: readonly string[];
      }
    | { readonly verb: 'delete-region' };
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

/** Somebody else answers at the node's address, or the node lost its ledger: nothing it says is believed. */
export class NodeMismatch extends Error {
  override readonly name = 'NodeMismatch';
}
