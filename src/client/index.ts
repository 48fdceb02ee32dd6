/** The typed client of Steward. {@link StewardClient} is where to begin. */

export type { Planning, TableSweep } from '../../activities/optimizing/optimizing.js';
export type { JobEnd, JobResult } from '../../workflows/jobs/run-job.js';
export type { JobSweepResult } from '../../workflows/jobs/sweep-jobs.js';
export type { HealResult } from '../../workflows/optimizing/heal-stuck-commits.js';
export type { CreationResult } from '../../workflows/regions/create-region-groups.js';
export type { DatabaseDeletionResult } from '../../workflows/regions/delete-database.js';
export type { DrainResult } from '../../workflows/regions/drain-legacy-queue.js';
export type { RecreationResult } from '../../workflows/regions/recreate-missing-replicas.js';
export type { RemovalResult } from '../../workflows/regions/remove-region-groups.js';
export type { SweepResult } from '../../workflows/regions/sweep-replicas.js';
export { readTransport, type TransportSettings } from '../model/transport.js';
export type { JobSpec } from '../rules/job-spec.js';
export type { JobState, TaskGroupState } from '../rules/job-states.js';
export type { GroupSettings } from '../rules/keeping.js';
export type { Holder, HolderRef, RegionKind } from '../rules/words.js';
export { type ConnectOptions, StewardClient } from './client.js';
export type { Databases } from './databases.js';
export type { Finding } from './doctor/finding.js';
export type { Doctor } from './doctor.js';
export { describeHolder, StewardError, type StewardErrorCode, type StewardErrorOptions } from './errors.js';
export { FAULTS_NOT_ALLOWED, type Fault, type FaultKind, type NodeFaults } from './faults.js';
export type { EndedHeal, HealBreaker, HealOptions, HealStatus, Heals } from './heals.js';
export type { JobDescription, JobStatus, JobSubmission, Jobs } from './jobs.js';
export type * from './model.js';
export type { EffectLoad, NodeState, Nodes } from './nodes.js';
export {
  type Canceled,
  type Ended,
  OperationHandle,
  type Superseded,
  type WaitOptions,
  type WatchOptions,
} from './operation-handle.js';
export type { DescribeOptions, OperationFilter, Operations } from './operations.js';
export type * from './optimizer-group-model.js';
export type { OptimizerGroupCreation, OptimizerGroupPlan, OptimizerGroups } from './optimizer-groups.js';
export type {
  OrphanOverview,
  Overview,
  RestartOverview,
  RunningOperation,
} from './overview.js';
export type { Pause } from './pauses.js';
export type {
  RegionGroupCreation,
  RegionGroupFilter,
  RegionGroupPlanning,
  RegionGroups,
} from './region-groups.js';
export type { Schedule, ScheduleRun, Schedules } from './schedules.js';
export type { Sweeps } from './sweeps.js';
export type {
  Column,
  FileFormat,
  Ingested,
  IngestOptions,
  OptimizingProcess,
  OptimizingTask,
  Table,
  TableCreation,
  TableDescription,
  Tables,
} from './tables.js';
export type { TemporalAddress, TemporalConnection, TemporalTarget } from './temporal.js';
export type { Build, Builds, DeploymentOptions, Workers } from './workers.js';
