import type { CheckpointRow } from '../../src/catalog/jobs/checkpoints.js';
import type { JobKey } from '../../src/catalog/jobs/rows.js';
import type { PlacedTaskGroup } from '../../src/catalog/jobs/task-groups.js';
import type { TaskGroupOperation } from '../../src/engines/jobs.js';
import type { JobSpec } from '../../src/rules/job-spec.js';
import { taskGroupOperation } from './task-group-operation.js';

/** The execution of a job, as its nodes know it. */
export interface Execution extends JobKey {
  readonly catalogId: string;
  readonly execution: number;
}

/**
 * The operation by which a node is asked to start a task group, from the last checkpoint that was committed before this
 * execution: as long as it lasts, the request is the same (I2).
 */
export function deployment(
  { catalogId, jobId, owner, execution }: Execution,
  spec: JobSpec,
  { pipeline, taskGroup, attempt, node }: PlacedTaskGroup,
  restore: readonly CheckpointRow[],
): TaskGroupOperation {
  const plan = spec.pipelines.find((one) => one.pipeline === pipeline)!;
  const { source } = plan.taskGroups.find((one) => one.taskGroup === taskGroup)!;
  const last = restore.find((one) => one.pipeline === pipeline && one.task_group === taskGroup);
  const location = { catalogId, jobId, pipeline, taskGroup };
  return {
    ...taskGroupOperation('deploy-task-group', location, { node, epoch: execution, attempt }),
    change: {
      verb: 'deploy-task-group',
      owner,
      source,
      transform: plan.transform,
      sink: plan.sink,
      parallelism: plan.parallelism,
      ...(plan.checkpointIntervalMs !== undefined && { checkpointIntervalMs: plan.checkpointIntervalMs }),
      ...(last && {
        restore: {
          checkpointId: last.checkpoint_id,
          position: last.position,
          parts: last.parts,
          rowsIn: last.rows_in,
          rowsOut: last.rows_out,
        },
      }),
    },
  };
}
