import type { SourceSpec } from '../rules/job-spec.js';
import type { TaskGroupLocation } from '../rules/operation-id.js';
import type { EngineNode, OperationStatus } from './nodes.js';

/**
 * The port between Steward's job activities and the nodes that run task groups. Free of any wire protocol: a driver
 * translates. Every call may be repeated; a call that fails says nothing about the operations (I1).
 */
export interface JobEngine {
  /**
   * Submits operations to one node, or asks again about operations submitted before: at most 250. Answers one status for
   * each, in their order. SUCCESS of a deployment means started. Throws NodeUnreachable when the node did not answer, and
   * NodeMismatch when another one did.
   */
  submit(node: EngineNode, operations: readonly TaskGroupOperation[]): Promise<OperationStatus[]>;

  /**
   * The task groups of a job that the node runs, or whose end it remembers. Throws like `submit`, and NodeIncapable when the
   * node runs no task groups at all.
   */
  listTaskGroups(node: EngineNode, catalogId: string, jobId: string): Promise<TaskGroupOnNode[]>;
}

export interface TaskGroupOperation {
  readonly operationId: string;
  readonly epoch: number;
  readonly location: TaskGroupLocation;
  readonly change: TaskGroupDeployment | { readonly verb: 'cancel-task-group'; readonly savepoint: boolean };
}

export interface TaskGroupDeployment {
  readonly verb: 'deploy-task-group';
  readonly owner: string;
  readonly source: SourceSpec;
  readonly transform: string;
  readonly sink: { readonly directory: string; readonly format: string };
  readonly parallelism: number;
  readonly checkpointIntervalMs?: number;
  /** Absent: from the start. */
  readonly restore?: RestoredCheckpoint;
}

export interface RestoredCheckpoint {
  readonly checkpointId: number;
  /** Opaque. */
  readonly position: Uint8Array;
  readonly parts: readonly {
    readonly staged: string;
    readonly published: string;
    readonly rows: number;
    readonly bytes: number;
  }[];
  readonly rowsIn: number;
  readonly rowsOut: number;
}

export interface TaskGroupOnNode {
  readonly pipeline: number;
  readonly taskGroup: number;
  readonly execution: number;
  readonly state: 'RUNNING' | 'FINISHED' | 'FAILED' | 'CANCELED';
  readonly rowsIn: number;
  readonly rowsOut: number;
  /** Since a row was read or a checkpoint was committed, by the node's own clock. */
  readonly idleMs: number;
  readonly error: string;
}
