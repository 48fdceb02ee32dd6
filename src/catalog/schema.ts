import type { ColumnType, Generated } from 'kysely';
import type { JobSpec } from '../rules/job-spec.js';
import type { JobState, PipelineState, TaskGroupState } from '../rules/job-states.js';
import type { GroupSettings } from '../rules/keeping.js';
import type { ProcessState, ResourceState, TableStatus, TaskState } from '../rules/optimizing-states.js';
import type { OptimizingKind, RegionKind, RegionWorkflow } from '../rules/words.js';

/** The catalog's tables as Kysely sees them; docs/design.md section 1 has the words. Ids and epochs are safe integers. */
export interface CatalogTables {
  catalog: CatalogTable;
  node: NodeTable;
  holder: HolderTable;
  database: DatabaseTable;
  allocation: AllocationTable;
  region_group: RegionGroupTable;
  replica: ReplicaTable;
  partition: PartitionTable;
  forgotten_replica: ForgottenReplicaTable;
  sighting: SightingTable;
  optimizer_group: OptimizerGroupTable;
  optimizer_resource: OptimizerResourceTable;
  optimizer: OptimizerTable;
  data_table: DataTable;
  optimizing_process: OptimizingProcessTable;
  optimizing_task: OptimizingTaskTable;
  snapshot: SnapshotTable;
  breaker: BreakerTable;
  job: JobTable;
  job_state_time: JobStateTimeTable;
  pipeline: PipelineTable;
  task_group: TaskGroupTable;
  checkpoint: CheckpointTable;
  savepoint: SavepointTable;
  owed_cancel: OwedCancelTable;
  control_process: ControlProcessTable;
  node_limit: NodeLimitTable;
  operation_pause: OperationPauseTable;
}

type CreatedAt = ColumnType<Date, never, never>;
type UpdatedAt = ColumnType<Date, Date | undefined, Date>;

interface CatalogTable {
  id: Generated<string>;
  created_at: CreatedAt;
}

interface NodeTable {
  node_id: string;
  ledger_id: string;
  boot_id: string;
  incarnation: number;
  address: string;
  capabilities: string[];
  /** Null: any number. */
  max_task_groups: number | null;
  registered_at: UpdatedAt;
  last_heartbeat: UpdatedAt;
}

/** One row for each workflow that ever claimed something, kept for a while after it ended. */
interface HolderTable {
  holder_id: Generated<number>;
  workflow_id: string;
  first_run_id: string;
  workflow_type: RegionWorkflow;
  actor: string;
  since: CreatedAt;
  /** The workflow's input, so that the sweep can drive the claim on. */
  input: ColumnType<unknown, string, never>;
  /** Names the last recreation round that claimed; empty before the first one. */
  round: Generated<string>;
  /** Replicas that were open when it claimed: what progress is measured against. */
  replicas: Generated<number>;
  superseded_by: number | null;
  /** What the closing step answered; set once. */
  outcome: ColumnType<unknown, string | null, string | null>;
  ended_at: Date | null;
}

export type DatabaseState = 'ACTIVE' | 'DELETING';

interface DatabaseTable {
  name: string;
  state: DatabaseState;
  created_by: string;
  created_at: CreatedAt;
  epoch: number;
  holder_id: number | null;
}

/** One row for each creation request, so that asking twice allocates once. */
interface AllocationTable {
  database: string;
  request: string;
  kind: RegionKind;
  groups: number;
  replication_factor: number;
  created_at: CreatedAt;
}

/** PROVISIONING until it has its quorum for the first time; REMOVING from the claim of a removal on. */
export type RegionGroupState = 'PROVISIONING' | 'RUNNING' | 'REMOVING';

interface RegionGroupTable {
  group_id: Generated<number>;
  database: string;
  kind: RegionKind;
  replication_factor: number;
  state: RegionGroupState;
  request: string;
  /** Nodes of all replicas as they were placed under this epoch: part of what every node is asked, so fixed with it. */
  peers: string[];
  epoch: number;
  holder_id: number | null;
  created_at: CreatedAt;
}

/**
 * CREATING and REMOVING are open: the holder's activity asks the node about them. FAILED: the node said FAIL to the
 * creation. UNKNOWN: the creation was unanswered for too long, so that the region may or may not exist (I1).
 */
export type ReplicaState = 'CREATING' | 'RUNNING' | 'FAILED' | 'UNKNOWN' | 'REMOVING';

interface ReplicaTable {
  group_id: number;
  node_id: string;
  state: ReplicaState;
  /** Attempt number under the group's epoch; raised by compare-and-set only. */
  attempt: Generated<number>;
  /** Not submitted before. */
  not_before: Date | null;
  last_error: string | null;
  state_since: UpdatedAt;
}

interface PartitionTable {
  database: string;
  kind: RegionKind;
  slot: number;
  group_id: number;
}

/** A replica that an operator let go of while its node was away. */
interface ForgottenReplicaTable {
  group_id: number;
  node_id: string;
  database: string;
  kind: RegionKind;
  ledger_id: string;
  epoch: number;
  actor: string;
  since: CreatedAt;
}

/** A difference between a node and the catalog that a sweep found. */
interface SightingTable {
  /** Empty: the region group lacks replicas that no node is to have. */
  node_id: string;
  group_id: number;
  kind: 'LEAKED' | 'MISSING';
  first_seen: CreatedAt;
  /** Fencing epoch of the leaked region's deletion; drawn once. */
  repair_epoch: number | null;
  attempt: Generated<number>;
}

type Json<T> = ColumnType<T, string, string>;

interface OptimizerGroupTable {
  name: string;
  /** Name of the container that starts its optimizers. */
  container: string;
  /** Handed to every optimizer of the group. */
  properties: Json<Record<string, string>>;
  /** What an operator set; the rest has its defaults. */
  settings: Json<Partial<GroupSettings>>;
  /** The keeper whose cycle looked at it last; null before the first one. */
  keeper: Generated<string | null>;
  created_by: string;
  created_at: CreatedAt;
}

/** The place of an optimizer process. */
interface OptimizerResourceTable {
  resource_id: string;
  group_name: string;
  container: string;
  node_id: string | null;
  state: ResourceState;
  /** Number of its launch; raised by compare-and-set only. */
  epoch: number;
  /** Attempt number of the open operation under this epoch. */
  attempt: Generated<number>;
  threads: number;
  memory_mb: number;
  properties: Json<Record<string, string>>;
  process_id: string | null;
  last_error: string | null;
  /** The last launch whose optimizer registered; 0: none ever did. */
  registered_launch: Generated<number>;
  created_by: string;
  /** When it was first started; a restart does not change it. */
  start_time: ColumnType<Date, never, never>;
  state_since: UpdatedAt;
}

/** An optimizer that registered and whose heartbeats come. */
interface OptimizerTable {
  token: Generated<string>;
  resource_id: string;
  group_name: string;
  launch: number;
  threads: number;
  memory_mb: number;
  node_id: string | null;
  registered_at: UpdatedAt;
  last_touch: UpdatedAt;
}

export interface TableColumn {
  readonly name: string;
  /** As DuckDB names it. */
  readonly type: string;
}

/** A Parquet file of a table; `path` is relative to the table's location. */
export interface DataFile {
  readonly path: string;
  readonly rows: number;
  readonly bytes: number;
}

interface DataTable {
  table_id: Generated<number>;
  name: string;
  group_name: string;
  /** Absolute path of its directory. */
  location: string;
  columns: Json<readonly TableColumn[]> | null;
  status: Generated<TableStatus>;
  status_since: UpdatedAt;
  /** Asked for by the table's name, and not planned yet. */
  wanted_kind: Generated<OptimizingKind | null>;
  /** 0: no snapshot yet. */
  snapshot_id: Generated<number>;
  files: Generated<number>;
  small_files: Generated<number>;
  undersized_files: Generated<number>;
  rows: Generated<number>;
  bytes: Generated<number>;
  created_by: string;
  created_at: CreatedAt;
}

interface OptimizingProcessTable {
  process_id: Generated<number>;
  table_id: number;
  kind: OptimizingKind;
  state: ProcessState;
  base_snapshot: number;
  tasks: number;
  actor: string;
  /** When beginCommitting happened; set once. */
  committing_since: Date | null;
  reason: string | null;
  started_at: CreatedAt;
  ended_at: Date | null;
}

interface OptimizingTaskTable {
  process_id: number;
  task_no: number;
  group_name: string;
  state: TaskState;
  attempt: Generated<number>;
  failures: Generated<number>;
  /** Its turn within the group. */
  turn: number;
  inputs: Json<readonly DataFile[]>;
  outputs: Json<readonly DataFile[]> | null;
  token: string | null;
  resource_id: string | null;
  node_id: string | null;
  last_error: string | null;
  /** Whether the transaction that counts the tasks of the process (T2) has seen this SUCCESS or FAILED. */
  settled: Generated<boolean>;
  state_since: UpdatedAt;
}

interface SnapshotTable {
  table_id: number;
  snapshot_id: number;
  /** Relative to the table's location. */
  path: string;
  process_id: number | null;
  request: string | null;
  digest: string | null;
  files: number;
  rows: number;
  created_at: CreatedAt;
}

interface BreakerTable {
  name: string;
  state: 'OPEN' | 'ACKNOWLEDGED' | 'CLOSED';
  reason: string;
  since: UpdatedAt;
  acknowledged_by: string | null;
}

/** A job under one owner. Over (`ended_at`) it is a tombstone until it is purged. */
interface JobTable {
  job_id: string;
  owner: string;
  state: JobState;
  /** The job's epoch; every restart draws a new one. */
  execution: number;
  restarts: Generated<number>;
  spec: Json<JobSpec>;
  /** Owner of the savepoint that it started from. */
  restored_from: string | null;
  actor: string;
  /** Why it is FAILING or FAILED; kept over a restart. */
  reason: string | null;
  created_at: CreatedAt;
  state_since: UpdatedAt;
  ended_at: Date | null;
  /** When the tombstone may go. */
  free_at: Date | null;
}

interface JobStateTimeTable {
  job_id: string;
  owner: string;
  step: number;
  state: JobState;
  execution: number;
  at: CreatedAt;
}

interface PipelineTable {
  job_id: string;
  owner: string;
  pipeline: number;
  state: PipelineState;
  state_since: UpdatedAt;
}

/** As of the job's present execution. */
interface TaskGroupTable {
  job_id: string;
  owner: string;
  pipeline: number;
  task_group: number;
  state: TaskGroupState;
  node_id: string | null;
  ledger_id: string | null;
  /** Of its deployment, under the execution. */
  attempt: Generated<number>;
  rows_in: Generated<number>;
  rows_out: Generated<number>;
  error: string | null;
  state_since: UpdatedAt;
}

/** A part file, relative to the sink's directory. */
export interface CheckpointPart {
  readonly staged: string;
  readonly published: string;
  readonly rows: number;
  readonly bytes: number;
}

interface CheckpointTable {
  job_id: string;
  owner: string;
  pipeline: number;
  task_group: number;
  checkpoint_id: number;
  execution: number;
  /** Opaque; only the node reads it. */
  position: Buffer;
  parts: Json<readonly CheckpointPart[]>;
  rows_in: number;
  rows_out: number;
  /** Nothing follows it: the source is exhausted, or it is a savepoint. */
  last: boolean;
  committed_at: CreatedAt;
}

/** A checkpoint of a savepoint; `position` in base64. */
export interface SavepointCheckpoint {
  readonly pipeline: number;
  readonly taskGroup: number;
  readonly checkpointId: number;
  readonly execution: number;
  readonly position: string;
  readonly parts: readonly CheckpointPart[];
  readonly rowsIn: number;
  readonly rowsOut: number;
}

interface SavepointTable {
  job_id: string;
  owner: string;
  actor: string;
  checkpoints: Json<readonly SavepointCheckpoint[]>;
  locations: Json<readonly { readonly pipeline: number; readonly taskGroup: number }[]>;
  created_at: CreatedAt;
}

/** A cancel that a node has not confirmed yet. */
interface OwedCancelTable {
  node_id: string;
  ledger_id: string;
  job_id: string;
  owner: string;
  pipeline: number;
  task_group: number;
  /** What it ends, and everything below. */
  execution: number;
  /** Drawn for the cancel: a deployment of the execution that is still under way is fenced off by it (I9). */
  epoch: number;
  attempt: Generated<number>;
  savepoint: Generated<boolean>;
  /** The job does not wait for it any more. */
  given_up: Generated<boolean>;
  not_before: Date | null;
  last_error: string | null;
  since: CreatedAt;
}

/** A coordinator or a worker that tells of itself. */
interface ControlProcessTable {
  process_id: string;
  kind: 'coordinator' | 'worker';
  version: string;
  host: string;
  pid: number;
  task_queue: string;
  node_timeout_ms: number;
  /** Null: of a process that is no worker, or one without a version. */
  deployment: string | null;
  build_id: string | null;
  started_at: CreatedAt;
  last_seen: UpdatedAt;
}

/** Effects of a kind that a node may run at a time; null: any number. */
interface NodeLimitTable {
  /** Empty: for nodes that have no row. */
  node_id: string;
  deletions: number | null;
  creations: number | null;
  actor: string;
  since: UpdatedAt;
}

interface OperationPauseTable {
  /** Empty: every operation. */
  operation_id: string;
  actor: string;
  reason: string;
  since: UpdatedAt;
  resumed_by: string | null;
  resumed_at: ColumnType<Date | null, Date | null | undefined, Date | null>;
}
