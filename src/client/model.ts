import type { Holder, RegionKind } from '../rules/words.js';
import type { Pause } from './pauses.js';

/**
 * What the client answers: plain data that is the same as JSON. Times are ISO 8601 in UTC, durations are in milliseconds,
 * ids and epochs are safe integers; what is not known is absent.
 */

/** One process of the engine that hosts regions. */
export interface Node {
  readonly nodeId: string;
  /** UUID made with the node's ledger; another one under the same node id is an empty disk or another machine. */
  readonly ledgerId: string;
  /** Base URL of the worker contract. */
  readonly address: string;
  /** Raised whenever the node was away, or its process is another one. */
  readonly incarnation: number;
  readonly capabilities: readonly string[];
  /** Its last heartbeat is younger than the node time-out. */
  readonly alive: boolean;
  /** Since its last heartbeat, by the catalog's clock. */
  readonly silentMs: number;
  readonly replicas: number;
  /** As operators want them; the node itself says which it keeps. */
  readonly limits: NodeLimits;
}

/** Effects of a kind that a node runs at a time at most; absent: any number. */
export interface NodeLimits {
  readonly deletions?: number;
  readonly creations?: number;
}

export interface Database {
  readonly name: string;
  readonly state: 'ACTIVE' | 'DELETING';
  readonly createdBy: string;
  readonly createdAt: string;
  readonly schemaRegionGroups: number;
  readonly dataRegionGroups: number;
  readonly runningRegionGroups: number;
  readonly replicas: number;
  readonly runningReplicas: number;
  /** Partition slots that are assigned to a region group. */
  readonly partitionSlots: number;
  readonly holder?: Holder;
}

/** One shard of a database, replicated on `replicationFactor` nodes. */
export interface RegionGroup {
  readonly groupId: number;
  readonly database: string;
  readonly kind: RegionKind;
  readonly replicationFactor: number;
  /** PROVISIONING until it has its quorum for the first time; REMOVING from the claim of a removal on. */
  readonly state: 'PROVISIONING' | 'RUNNING' | 'REMOVING';
  readonly epoch: number;
  readonly createdAt: string;
  readonly partitionSlots: number;
  readonly replicas: readonly Replica[];
  readonly holder?: Holder;
}

export interface Replica {
  readonly nodeId: string;
  /** FAILED: the node said so. UNKNOWN: the creation was unanswered for too long (I1). */
  readonly state: 'CREATING' | 'RUNNING' | 'FAILED' | 'UNKNOWN' | 'REMOVING';
  /** Under the group's epoch, from 1. */
  readonly attempt: number;
  readonly lastError?: string;
}

/** Where region groups would be placed now: the nodes of each. */
export interface RegionGroupPlan {
  readonly placements: readonly (readonly string[])[];
}

export type OperationStatus =
  | 'RUNNING'
  | 'PAUSED'
  | 'COMPLETED'
  | 'FAILED'
  | 'CANCELED'
  | 'TERMINATED'
  | 'CONTINUED_AS_NEW'
  | 'TIMED_OUT';

/** An operation as a list shows it. */
export interface Operation {
  /** The id of its workflow. */
  readonly operationId: string;
  readonly runId: string;
  readonly workflowType: string;
  readonly status: OperationStatus;
  readonly database?: string;
  readonly resource?: string;
  readonly phase?: string;
  readonly actor?: string;
  readonly startedAt: string;
  readonly closedAt?: string;
  /** It submits nothing new to nodes. */
  readonly paused?: Pause;
}

/** An operation in full. */
export interface OperationDescription extends Operation {
  /** First run of its chain: with the id, what a claim is held by. */
  readonly firstRunId: string;
  /** One line, set at the start. */
  readonly summary?: string;
  /** Markdown, set at the start. */
  readonly details?: string;
  /** Markdown that the workflow keeps up to date while it runs. */
  readonly currentDetails?: string;
  /** From the catalog; absent before the first claim. */
  readonly progress?: OperationProgress;
  readonly pendingActivities: readonly PendingActivity[];
  /** What keeps it from ending, each in one line; empty when it goes on as it should (I8). */
  readonly blockers: readonly string[];
  /** When it completed. */
  readonly result?: unknown;
  /** When it failed, was cancelled or terminated. */
  readonly failure?: { readonly code: string; readonly message: string; readonly details?: unknown };
  /** Who took over what it held (I5). */
  readonly supersededBy?: Holder;
}

export interface OperationProgress {
  /** Replicas that were open when it claimed. */
  readonly total: number;
  /** Replicas that are open now. */
  readonly open: number;
  readonly openByNode: readonly { readonly nodeId: string; readonly replicas: number }[];
}

export interface PendingActivity {
  readonly activityType: string;
  /** What it does, for people: `delete 3 regions on node-1`. */
  readonly summary?: string;
  readonly state: 'SCHEDULED' | 'STARTED' | 'CANCEL_REQUESTED' | 'PAUSED' | 'PAUSE_REQUESTED' | 'UNKNOWN';
  readonly attempt: number;
  /** What the last attempt found: names what is open and what blocks. */
  readonly lastFailure?: string;
  readonly nextAttemptAt?: string;
}
