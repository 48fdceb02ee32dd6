import { formatRegion, type RegionKey } from './region-key.js';

/** Whole desired state of one change, as it was validated; plain data, so that the ledger can hold it. */
export type RegionRequest =
  | {
      readonly verb: 'create-region';
      readonly region: RegionKey;
      readonly database: string;
      readonly kind: 'SCHEMA' | 'DATA';
      readonly peers: readonly string[];
    }
  | { readonly verb: 'delete-region'; readonly region: RegionKey };

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

/** How an operation ended, before the ledger has stamped it. */
export type Result =
  | { readonly state: 'SUCCESS' }
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
  readonly request: RegionRequest;
  /** What was told of the progress before a restart; zero for a new operation. */
  readonly progress: Progress;
}

export const NO_PROGRESS: Progress = { done: 0, total: 0 };

/** The resource that epochs fence: `region/<catalog id>/<group id>`. */
export function resourceOf(request: RegionRequest): string {
  return `region/${formatRegion(request.region)}`;
}
