import type { RegionKind } from '../rules/words.js';
import type { EngineNode, OperationStatus } from './nodes.js';

/**
 * The port between Steward's region activities and an engine's nodes. Free of any wire protocol: a driver translates.
 * Every call may be repeated; a call that fails says nothing about the operations (I1).
 */
export interface RegionEngine {
  /**
   * Submits operations to one node, or asks again about operations submitted before: at most 250. Answers one status for
   * each, in their order. Throws NodeUnreachable when the node did not answer, and NodeMismatch when
   * another one did.
   */
  submit(node: EngineNode, operations: readonly RegionOperation[]): Promise<OperationStatus[]>;

  /** What became of operations, without submitting them: at most 250. Answers and throws like `submit`. */
  get(node: EngineNode, operationIds: readonly string[]): Promise<OperationStatus[]>;

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
