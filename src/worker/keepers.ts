import { type Client, WorkflowExecutionAlreadyStartedError } from '@temporalio/client';
import type { StartKeeper } from '../../activities/optimizers/ensure-keepers.js';
import { stewardActor, stewardResource } from '../../workflows/search-attributes.js';
import { SCHEDULE_ACTOR } from '../rules/words.js';

/** A killed worker's workflow task waits this long. */
const WORKFLOW_TASK_TIMEOUT = '3s';

/** Starts `keepOptimizerGroup` for a group that has none. */
export function startKeeperBy(client: Client, taskQueue: string): StartKeeper {
  return async (group) => {
    try {
      await client.workflow.start('keepOptimizerGroup', {
        workflowId: `optimizer-group/${group}`,
        taskQueue,
        args: [{ group, actor: SCHEDULE_ACTOR }],
        workflowIdConflictPolicy: 'FAIL',
        workflowIdReusePolicy: 'ALLOW_DUPLICATE',
        workflowTaskTimeout: WORKFLOW_TASK_TIMEOUT,
        staticSummary: `keep optimizer group ${group}`,
        typedSearchAttributes: [
          { key: stewardResource, value: `optimizer-group/${group}` },
          { key: stewardActor, value: SCHEDULE_ACTOR },
        ],
      });
      return true;
    } catch (error) {
      if (error instanceof WorkflowExecutionAlreadyStartedError) return false;
      throw error;
    }
  };
}
