import { type Client, WorkflowNotFoundError } from '@temporalio/client';
import type { IsOpen } from '../catalog/claims.js';

const OPEN = new Set(['RUNNING', 'PAUSED']);

/**
 * Whether a holder's workflow is open, by describing it: listings lag. A newer chain under the same workflow id is another
 * holder, so the one asked about is closed.
 */
export function isOpenBy(client: Client): IsOpen {
  return async ({ workflowId, firstRunId }) => {
    try {
      const { status, raw } = await client.workflow.getHandle(workflowId).describe();
      const chain = raw.workflowExecutionInfo?.firstRunId;
      return OPEN.has(status.name) && (chain === undefined || chain === '' || chain === firstRunId);
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return false;
      throw error;
    }
  };
}

/** Whether anything runs under a workflow id, by describing it. */
export function runsBy(client: Client): (workflowId: string) => Promise<boolean> {
  return async (workflowId) => {
    try {
      return OPEN.has((await client.workflow.getHandle(workflowId).describe()).status.name);
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return false;
      throw error;
    }
  };
}
