import { regionPath, resourcePath, type TaskGroupLocation, taskGroupPath } from '../rules/operation-id.js';
import type { RegionKey } from './region-key.js';

/** Whole desired state of one change, as it was validated; plain data, so that the ledger can hold it. */
export type NodeRequest = RegionRequest | ResourceRequest | TaskGroupRequest;

export type RegionRequest =
  | {
      readonly verb: 'create-region';
      readonly region: RegionKey;
      readonly database: string;
      readonly kind: 'SCHEMA' | 'DATA';
      readonly peers: readonly string[];
    }
  | { readonly verb: 'delete-region'; readonly region: RegionKey };

/** The place of an optimizer process. */
export interface ResourceKey {
  /** UUID of the catalog that knows the resource. */
  readonly catalogId: string;
  readonly resourceId: string;
}

export type ResourceRequest =
  | {
      readonly verb: 'request-resource';
      readonly resource: ResourceKey;
      readonly group: string;
      readonly threads: number;
      readonly memoryMb: number;
      readonly properties: Readonly<Record<string, string>>;
    }
  | { readonly verb: 'release-resource'; readonly resource: ResourceKey };

export type TaskGroupRequest = DeployTaskGroup | CancelTaskGroup;

export interface DeployTaskGroup {
  readonly verb: 'deploy-task-group';
  readonly location: TaskGroupLocation;
  /** UUID of the owner of the job's rows. */
  readonly owner: string;
  readonly source: TaskGroupSource;
  /** SELECT over the table `source`; empty: everything as it is. */
  readonly transform: string;
  readonly sink: { readonly directory: string; readonly format: FileFormat };
  readonly parallelism: number;
  /** Missing: only one checkpoint, at the end. */
  readonly checkpointIntervalMs?: number;
  /** The last committed checkpoint of the location. */
  readonly restore?: TaskGroupCheckpoint;
}

export interface CancelTaskGroup {
  readonly verb: 'cancel-task-group';
  readonly location: TaskGroupLocation;
  /** Commit a last checkpoint before. */
  readonly savepoint: boolean;
}

export type FileFormat = 'csv' | 'ndjson' | 'parquet';

export type TaskGroupSource =
  | { readonly kind: 'files'; readonly paths: readonly string[]; readonly format: FileFormat }
  | {
      readonly kind: 'rate';
      readonly first: number;
      /** 0: without end. */
      readonly rows: number;
      readonly rowsPerSecond: number;
    };

/** A committed state of a task group. */
export interface TaskGroupCheckpoint {
  readonly checkpointId: number;
  /** Base64 of the opaque position of each sub-task. */
  readonly position: string;
  readonly parts: readonly Part[];
  readonly rowsIn: number;
  readonly rowsOut: number;
}

/** A part file; both paths are relative to the sink's directory. */
export interface Part {
  readonly staged: string;
  readonly published: string;
  readonly rows: number;
  readonly bytes: number;
}

/** Units of work done, of all that are known; total 0: not known yet. */
export interface Progress {
  readonly done: number;
  readonly total: number;
}

/** Why an operation ended as FAIL; the names of `OperationError.Code` in the contract. */
export type FailCode =
  | 'ALREADY_EXISTS'
  | 'CANCELED'
  | 'INTERRUPTED'
  | 'SUPERSEDED'
  | 'PEER_REMOVAL_FAILED'
  | 'IO'
  | 'INTERNAL';

/** What a `request-resource` brought. */
export interface ResourceStarted {
  /** Names the process on this node. */
  readonly processId: string;
  readonly threads: number;
  readonly memoryMb: number;
  readonly properties: Readonly<Record<string, string>>;
}

/** How an operation ended, before the ledger has stamped it. */
export type Result =
  | { readonly state: 'SUCCESS'; readonly resource?: ResourceStarted }
  | { readonly state: 'FAIL'; readonly code: FailCode; readonly message: string };

/** The recorded end of an operation; final for its id (I3). */
export type Outcome = Result & { readonly endedAtMs: number; readonly progress: Progress };

/** An operation that was accepted and is not over. */
export interface PendingOperation {
  readonly id: string;
  /** Order of acceptance among the operations that are not over. */
  readonly seq: number;
  readonly resource: string;
  readonly epoch: number;
  /** Digest of the whole request: the same id with another request is refused (I2). */
  readonly digest: string;
  readonly acceptedAtMs: number;
  readonly request: NodeRequest;
  /** What was told of the progress before a restart; zero for a new operation. */
  readonly progress: Progress;
}

export const NO_PROGRESS: Progress = { done: 0, total: 0 };

/** The resource that epochs fence: `region/<path>`, `resource/<path>` or `task-group/<path>`. */
export function resourceOf(request: NodeRequest): string {
  switch (request.verb) {
    case 'create-region':
    case 'delete-region':
      return `region/${regionPath(request.region)}`;
    case 'request-resource':
    case 'release-resource':
      return `resource/${resourcePath(request.resource)}`;
    case 'deploy-task-group':
    case 'cancel-task-group':
      return `task-group/${taskGroupPath(request.location)}`;
    default:
      throw new Error(`unknown request ${JSON.stringify(request satisfies never)}`);
  }
}

/** Whether Cancel ends it. What takes something away goes on to its end, so that nothing is left half there (I4). */
export function isCancellable(request: NodeRequest): boolean {
  switch (request.verb) {
    case 'create-region':
    case 'request-resource':
    case 'deploy-task-group':
      return true;
    case 'delete-region':
    case 'release-resource':
    case 'cancel-task-group':
      return false;
    default:
      throw new Error(`unknown request ${JSON.stringify(request satisfies never)}`);
  }
}
