import type { EngineNode, OperationStatus } from './nodes.js';

/**
 * The port between Steward and what runs its optimizers: containers on nodes, and the results that optimizers keep there.
 * Free of any wire protocol: a driver translates. Every call may be repeated; a call that fails says nothing (I1). Each
 * throws NodeUnreachable when the node did not answer, and NodeMismatch when another one did.
 */
export interface OptimizerEngine {
  /** Submits operations to one node, or asks again: at most 250. Answers one status for each, in their order. */
  submit(node: EngineNode, operations: readonly ResourceOperation[]): Promise<ResourceOperationStatus[]>;

  /** Every resource of this catalog of which anything is left on the node, whether the catalog knows it or not. */
  listResources(node: EngineNode, catalogId: string): AsyncIterable<ResourceOnNode>;

  /** What became of an attempt of a task that an optimizer of this node was handed. */
  getTaskResult(node: EngineNode, task: TaskAttempt): Promise<TaskAnswer>;
}

export interface ResourceOperation {
  readonly operationId: string;
  /** Number of the launch. */
  readonly epoch: number;
  readonly resource: ResourceId;
  readonly change:
    | {
        readonly verb: 'request-resource';
        readonly group: string;
        readonly threads: number;
        readonly memoryMb: number;
        readonly properties: Readonly<Record<string, string>>;
      }
    | { readonly verb: 'release-resource' };
}

export interface ResourceId {
  readonly catalogId: string;
  readonly resourceId: string;
}

/** A status, and with the SUCCESS of a request what was started. */
export type ResourceOperationStatus = OperationStatus & { readonly started?: StartedResource };

export interface StartedResource {
  readonly processId: string;
  readonly threads: number;
  readonly memoryMb: number;
  readonly properties: Readonly<Record<string, string>>;
}

export interface ResourceOnNode {
  readonly resourceId: string;
  readonly group: string;
  /** Highest launch that the node accepted. */
  readonly epoch: number;
  /** Empty when it was never started. */
  readonly processId: string;
  readonly running: boolean;
  /** Results that the coordinator has not acknowledged. */
  readonly unacknowledged: number;
}

export interface TaskAttempt {
  readonly resource: ResourceId;
  /** `<process>/<task>` */
  readonly taskId: string;
  readonly attempt: number;
}

/** Paths are relative to the table's location. */
export interface MergedFile {
  readonly path: string;
  readonly rows: number;
  readonly bytes: number;
}

export type TaskOutcome =
  | { readonly kind: 'MERGED'; readonly outputs: readonly MergedFile[] }
  | { readonly kind: 'ERROR'; readonly error: string };

/** NONE: there will be no result for this attempt. */
export type TaskAnswer =
  | { readonly kind: 'RESULT'; readonly outcome: TaskOutcome }
  | { readonly kind: 'RUNNING' }
  | { readonly kind: 'NONE' };
