/** Everything that the workflow bundle serves; the names are the workflow types. */
export { purgeJobState } from './jobs/purge-job-state.js';
export { runJob } from './jobs/run-job.js';
export { sweepJobs } from './jobs/sweep-jobs.js';
export { ensureKeepers } from './optimizers/ensure-keepers.js';
export { keepOptimizerGroup } from './optimizers/keep-optimizer-group.js';
export { commitTable } from './optimizing/commit-table.js';
export { healStuckCommits } from './optimizing/heal-stuck-commits.js';
export { planOptimizing } from './optimizing/plan-optimizing.js';
export { sweepTables } from './optimizing/sweep-tables.js';
export { createRegionGroups } from './regions/create-region-groups.js';
export { deleteDatabase } from './regions/delete-database.js';
export { drainLegacyQueue } from './regions/drain-legacy-queue.js';
export { recreateMissingReplicas } from './regions/recreate-missing-replicas.js';
export { removeRegionGroups } from './regions/remove-region-groups.js';
export { sweepReplicas } from './regions/sweep-replicas.js';
