import type {
  Builds,
  Column,
  Database,
  Fault,
  Finding,
  GroupSettings,
  HealBreaker,
  HealStatus,
  Holder,
  Ingested,
  JobDescription,
  JobEnd,
  JobSpec,
  JobStatus,
  Node,
  NodeLimits,
  NodeState,
  Operation,
  OperationDescription,
  OptimizerGroup,
  OptimizerGroupDescription,
  OptimizerGroupPlan,
  Overview,
  Pause,
  RegionGroup,
  RegionKind,
  Schedule,
  ScheduleRun,
  Table,
  TableDescription,
} from '../client/index.js';
import type { ControlCommand } from '../local/control.js';
import type { DrainPlan } from '../rules/legacy-queue.js';
import type { SetUp } from '../setup/setup.js';
import type { LocalProcess } from './local-processes.js';

/**
 * The one JSON document that each command prints on stdout with `--json`. Times are ISO 8601 in UTC, durations in
 * milliseconds. `local start` and `local status` print `LocalStatus` (src/local/status.ts), `conformance` prints
 * `ConformanceReport` (src/conformance/report.ts).
 */

/** Any command that failed; its exit code says how. */
export interface ErrorDocument {
  readonly error: {
    readonly code: string;
    readonly message: string;
    /** HELD and SUPERSEDED: the workflow that holds what was asked for. */
    readonly holder?: Holder;
    readonly details?: unknown;
    /** The operation that was started. */
    readonly operationId?: string;
    readonly runId?: string;
  };
}

/** `local stop` */
export interface LocalStopDocument {
  readonly outcome: 'stopped' | 'not-running' | 'cleaned-up';
}

/** `database list` */
export interface DatabasesDocument {
  readonly databases: readonly Database[];
}

/** `database show` */
export interface DatabaseDocument {
  readonly database: Database;
  readonly regionGroups: readonly RegionGroup[];
}

/** `database create` */
export interface DatabaseCreatedDocument {
  readonly database: Database;
  /** One for each kind of region group that was asked for. */
  readonly operations: readonly OperationEnd[];
}

/** `database create --dry-run` */
export interface DatabasePlanDocument {
  readonly dryRun: true;
  readonly plan: { readonly database: string; readonly regionGroups: readonly PlannedRegionGroup[] };
}

/** `region-group create --dry-run` */
export interface CreationPlanDocument {
  readonly dryRun: true;
  readonly plan: { readonly database: string; readonly regionGroups: readonly PlannedRegionGroup[] };
}

/** A region group that would be created, and where its replicas would be as things are now. */
export interface PlannedRegionGroup {
  readonly kind: RegionKind;
  readonly nodes: readonly string[];
}

/** `region-group list` */
export interface RegionGroupsDocument {
  readonly regionGroups: readonly RegionGroup[];
}

/** `region-group show` */
export interface RegionGroupDocument {
  readonly regionGroup: RegionGroup;
}

/** `region-group create`, `remove`, `recreate`; `database delete`; `sweep drain-legacy-queue`; `heal run` */
export interface OperationEndDocument {
  readonly operation: OperationEnd;
}

/** `region-group remove --dry-run`: with the holders that are in the way, if any. */
export interface RemovalPlanDocument {
  readonly dryRun: true;
  readonly plan: { readonly regionGroups: readonly RegionGroup[]; readonly replicas: number };
}

/** `region-group recreate --dry-run` */
export interface RecreationPlanDocument {
  readonly dryRun: true;
  readonly plan: {
    readonly regionGroups: readonly { readonly regionGroup: RegionGroup; readonly missing: number }[];
  };
}

export type OperationEnd = {
  /** The id of its workflow, for `operation show`. */
  readonly operationId: string;
  readonly runId: string;
} & (
  | { /** With `--no-wait`. */ readonly outcome: 'STARTED' }
  | { readonly outcome: 'DONE'; readonly result: unknown }
);

/** `node list` */
export interface NodesDocument {
  readonly nodes: readonly (Node & {
    /** Of a node of the local stack. */
    readonly process?: LocalProcess;
  })[];
}

/** `node show` */
export interface NodeDocument {
  readonly node: NodesDocument['nodes'][number];
  readonly replicas: readonly HostedReplica[];
  /** What the node says of itself; absent when it does not answer. */
  readonly state?: NodeState;
}

/** A replica that the catalog has on a node. */
export interface HostedReplica {
  readonly groupId: number;
  readonly database: string;
  readonly kind: RegionKind;
  readonly state: RegionGroup['replicas'][number]['state'];
}

/** `node fault`: the faults of the node afterwards; with `--dry-run`, what would be added or removed. */
export type FaultsDocument =
  | { readonly nodeId: string; readonly faults: readonly Fault[] }
  | {
      readonly dryRun: true;
      readonly plan: { readonly nodeId: string; readonly add?: Fault; readonly remove?: readonly Fault[] };
    };

/** `node kill`, `pause`, `resume`: what was done, and the process afterwards; with `--dry-run`, the process as it is. */
export type NodeProcessDocument =
  | { readonly nodeId: string; readonly process: LocalProcess; readonly command: ControlCommand }
  | {
      readonly dryRun: true;
      readonly plan: {
        readonly nodeId: string;
        readonly process: LocalProcess;
        readonly command: ControlCommand;
      };
    };

/** Told on stderr as well. */
export interface Incomplete {
  /** What is left out because somebody did not answer, and why; absent when nothing is. */
  readonly problems?: readonly string[];
}

/** `operation list` */
export interface OperationsDocument extends Incomplete {
  readonly operations: readonly Operation[];
}

/** `operation show` */
export interface OperationDocument extends Incomplete {
  readonly operation: OperationDescription;
}

/** `operation cancel`: it was accepted, or with `--dry-run` what would be asked. */
export type OperationCancelDocument =
  | { readonly operationId: string; readonly outcome: 'CANCELED' }
  | { readonly dryRun: true; readonly plan: { readonly operation: OperationDescription } };

/** `database delete --dry-run` */
export interface DeletionPlanDocument {
  readonly dryRun: true;
  readonly plan: { readonly database: Database; readonly regionGroups: readonly RegionGroup[] };
}

/** `region-group forget-replica` */
export type ForgottenDocument =
  | { readonly groupId: number; readonly nodeId: string; readonly outcome: 'FORGOTTEN' }
  | { readonly dryRun: true; readonly plan: { readonly groupId: number; readonly nodeId: string } };

/** `sweep run`: of what nodes hold, and of jobs. */
export interface SweepEndDocument {
  readonly operation: OperationEnd;
  readonly jobs: OperationEnd;
}

/** `sweep run --dry-run` */
export interface SweepPlanDocument {
  readonly dryRun: true;
  readonly plan: { readonly mode: 'observe' | 'repair'; readonly gracePeriodMs: number };
}

/** `sweep drain-legacy-queue --dry-run` */
export interface DrainPlanDocument {
  readonly dryRun: true;
  readonly plan: DrainPlan;
}

/** `conformance --list` */
export interface ChecksDocument {
  readonly checks: readonly {
    readonly name: string;
    readonly group: string;
    readonly rule: string;
    readonly needs: readonly string[];
  }[];
}

/** `heal run --dry-run` */
export interface HealPlanDocument {
  readonly dryRun: true;
  readonly plan: { readonly mode: 'observe' | 'repair'; readonly table?: string; readonly graceMs?: number };
}

/** `heal status` */
export type HealStatusDocument = HealStatus;

/** `heal ack` */
export type BreakerAcknowledgedDocument =
  | { readonly breaker: HealBreaker }
  | { readonly dryRun: true; readonly plan: { readonly breaker: HealBreaker } };

/** `schedule list` */
export interface SchedulesDocument {
  readonly schedules: readonly Schedule[];
}

/** `schedule show`: the last runs, the newest first; each with the result of its workflow. */
export interface ScheduleRunsDocument {
  readonly schedule: Schedule;
  readonly runs: readonly ScheduleRun[];
}

/** `schedule ensure`: with the ids of those that were missing. */
export interface SchedulesEnsuredDocument {
  readonly created: readonly string[];
  readonly schedules: readonly Schedule[];
}

/** `schedule pause`, `resume`, `trigger`: as it is afterwards. */
export interface ScheduleDocument {
  readonly schedule: Schedule;
}

/** `schedule ensure|pause|resume|trigger --dry-run`: the schedules as they are now. */
export interface SchedulePlanDocument {
  readonly dryRun: true;
  readonly plan: {
    readonly action: 'ensure' | 'pause' | 'resume' | 'trigger';
    readonly schedules: readonly Schedule[];
  };
}

/** `worker list`, `make-current`, `ramp`: as it is afterwards. Without builds there is no deployment. */
export type BuildsDocument = Builds;

/** `worker make-current|ramp --dry-run`: the builds as they are now. */
export interface BuildsPlanDocument {
  readonly dryRun: true;
  readonly plan: Required<Builds> & { readonly action: 'make-current' | 'ramp'; readonly build: string };
}

/** `setup`: what was missing and is there now; with `--after-restore`, what was lifted and what differs. */
export type SetupDocument = SetUp;

/** `table list` */
export interface TablesDocument {
  readonly tables: readonly Table[];
}

/** `table show`, `table create` */
export interface TableDocument {
  readonly table: TableDescription;
}

/** `table ingest`: the files that were added before one failed stay. */
export interface IngestDocument {
  readonly table: string;
  readonly ingested: readonly (Ingested & { readonly file: string })[];
}

/** `table optimize`: how the planning ended, and the table after its process. */
export interface OptimizeDocument {
  readonly operation: OperationEnd;
  readonly table: TableDescription;
}

/** `table create|ingest|optimize --dry-run` */
export interface TablePlanDocument {
  readonly dryRun: true;
  readonly plan:
    | {
        readonly action: 'create';
        readonly name: string;
        readonly group: string;
        readonly columns: readonly Column[];
      }
    | { readonly action: 'ingest'; readonly name: string; readonly files: readonly string[] }
    | {
        readonly action: 'optimize';
        readonly name: string;
        readonly files: number;
        readonly blockers: readonly string[];
      };
}

/** `optimizer-group list` */
export interface OptimizerGroupsDocument {
  readonly groups: readonly OptimizerGroup[];
}

/** `optimizer-group create`, `show` */
export interface OptimizerGroupDocument {
  readonly group: OptimizerGroupDescription;
}

/** `optimizer-group create --dry-run` */
export interface OptimizerGroupPlanDocument {
  readonly dryRun: true;
  readonly plan: OptimizerGroupPlan;
}

/** `optimizer-group scale`, `pause`, `resume`, `restart-now`, `reset`, `forget-resource`: the group afterwards, or now. */
export type OptimizerGroupChangeDocument =
  | { readonly group: OptimizerGroupDescription; readonly warnings: readonly string[] }
  | {
      readonly dryRun: true;
      readonly plan: {
        readonly group: OptimizerGroupDescription;
        readonly action: 'scale' | 'pause' | 'resume' | 'restart-now' | 'reset' | 'forget-resource';
        readonly resourceId?: string;
        readonly settings?: Partial<GroupSettings>;
      };
    };

/** `job list` */
export interface JobsDocument {
  readonly jobs: readonly JobStatus[];
}

/** `job show` */
export interface JobDocument {
  readonly job: JobDescription;
  /** What it waits for, while it is not over. */
  readonly blockers: readonly string[];
}

/** `job wait`: the job as it stands afterwards; null when it is purged already. */
export interface JobWaitDocument {
  readonly job: JobDescription | null;
  readonly end: JobEnd;
}

/** `job submit`: the job as it stands afterwards; null when it is purged already. */
export interface JobEndDocument {
  readonly job: JobDescription | null;
  readonly operation: OperationEnd;
}

/** `job submit --dry-run` */
export interface JobPlanDocument {
  readonly dryRun: true;
  readonly plan: { readonly jobId: string; readonly job: JobSpec; readonly fromSavepoint: boolean };
}

/** `job cancel` */
export type JobCancelDocument =
  | { readonly end: JobEnd }
  | { readonly dryRun: true; readonly plan: { readonly job: JobDescription; readonly savepoint: boolean } };

/** `doctor` */
export interface DoctorDocument {
  /** Whether nothing is WRONG. */
  readonly ok: boolean;
  readonly findings: readonly Finding[];
}

/** `operation pause`, `resume`: what is paused afterwards, or now. */
export type OperationPauseDocument =
  | OperationPause
  | { readonly dryRun: true; readonly plan: OperationPause };

export interface OperationPause {
  readonly action: 'pause' | 'resume';
  /** Absent: every operation. */
  readonly operationId?: string;
  readonly pauses: readonly Pause[];
}

/** `node limit`: the nodes afterwards, or now. */
export type NodeLimitDocument =
  | { readonly nodes: readonly Node[] }
  | {
      readonly dryRun: true;
      readonly plan: { readonly limits: NodeLimits | null; readonly nodes: readonly Node[] };
    };

/** `top` */
export interface TopDocument {
  readonly overview: Overview;
}
