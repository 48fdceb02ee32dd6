import type { GroupSettings } from '../rules/keeping.js';
import type { ResourceState } from '../rules/optimizing-states.js';

/** What the client answers about optimizer groups. Times are ISO 8601 in UTC. */

/** A group of optimizers as the catalog has it. */
export interface OptimizerGroup {
  readonly name: string;
  /** Container that starts its optimizers: `local`, `external`, or one of STEWARD_CONTAINERS. */
  readonly container: string;
  /** Handed to every optimizer of the group. */
  readonly properties: Readonly<Record<string, string>>;
  /** Every setting, defaults filled in. */
  readonly settings: GroupSettings;
  readonly createdBy: string;
  readonly createdAt: string;
  /** Tables that it optimizes. */
  readonly tables: number;
  /** Tasks that wait for an optimizer. */
  readonly plannedTasks: number;
  /** Threads of optimizers whose heartbeats come. */
  readonly liveThreads: number;
  readonly liveOptimizers: number;
  /** In the order of their ids. */
  readonly resources: readonly OptimizerResource[];
}

/** The place of an optimizer. */
export interface OptimizerResource {
  readonly resourceId: string;
  readonly state: ResourceState;
  readonly container: string;
  readonly nodeId?: string;
  /** Number of its launch. */
  readonly launch: number;
  readonly threads: number;
  readonly memoryMb: number;
  /** What the container said of the process. */
  readonly properties: Readonly<Record<string, string>>;
  readonly processId?: string;
  /** When it was first started; a restart does not change it. */
  readonly startTime: string;
  /** The last launch whose optimizer registered; 0: none ever did. */
  readonly registeredLaunch: number;
  readonly lastError?: string;
  /** Absent: none is registered. */
  readonly optimizer?: RegisteredOptimizer;
}

export interface RegisteredOptimizer {
  readonly launch: number;
  /** Its last heartbeat is younger than the time-out of its group. */
  readonly alive: boolean;
  readonly silentMs: number;
  readonly registeredAt: string;
}

/** A group, and what its keeper makes of it. */
export interface OptimizerGroupDescription extends OptimizerGroup {
  /**
   * MISSING: no keeper runs; the schedule `steward/ensure-keepers` starts one within a minute. SILENT: it runs, and did not
   * answer (no worker serves it, or the server is away).
   */
  readonly keeper: {
    readonly state: 'KEEPING' | 'PAUSED' | 'MISSING' | 'SILENT';
    /** Why it is paused, or silent. */
    readonly reason?: string;
  };
  /** What the keeper keeps to as of its last cycle; absent before the first one, or while it does not answer. */
  readonly effectiveMinParallelism?: number;
  /** New requests in a row that never registered. */
  readonly keepingAttempts?: number;
  /** Resources without a live optimizer that the keeper looks after, and those not seen by a cycle yet. */
  readonly orphans: readonly OrphanResource[];
  /** Resources without a live optimizer that are left to their container. */
  readonly optedOut: readonly OptedOutResource[];
  /** What containers have not done yet, and why, as of the last cycle. */
  readonly open: readonly string[];
  /** What is allowed but probably not meant. */
  readonly warnings: readonly string[];
}

export interface OrphanResource {
  readonly resourceId: string;
  /** Restarts so far. */
  readonly attempts: number;
  /** When the keeper first saw it without an optimizer; absent before that. */
  readonly firstSeenAt?: string;
  /** What the next turn does. NOTHING: its group restarts nothing. */
  readonly next: 'RESTART' | 'CLEAN_UP' | 'NOTHING';
  /** When, unless its optimizer comes before; absent with NOTHING. */
  readonly nextTurnAt?: string;
}

export interface OptedOutResource {
  readonly resourceId: string;
  readonly container: string;
  /** OPTS_OUT: something else keeps its optimizers. UNKNOWN: no worker has this container configured. */
  readonly because: 'OPTS_OUT' | 'UNKNOWN';
}
