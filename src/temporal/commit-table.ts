import { type Client, WorkflowExecutionAlreadyStartedError, WorkflowNotFoundError } from '@temporalio/client';
import { stewardActor, stewardResource } from '../../workflows/search-attributes.js';
import type { CommitTableInput } from '../rules/optimizing-input.js';
import type { ProcessRef } from '../rules/words.js';

/** The commit of a process has an id of its own, so that it runs once at a time. */
export function commitTableId({ tableId, processId }: Pick<ProcessRef, 'tableId' | 'processId'>): string {
  return `table/${tableId}/commit/${processId}`;
}

/** Starts commitTable, whoever asks and however often: false when it runs already. */
export async function startCommitTable(
  client: Client,
  taskQueue: string,
  commit: ProcessRef,
  actor: string,
): Promise<boolean> {
  const { tableId, table, processId } = commit;
  const input: CommitTableInput = { table, process: processId, actor };
  try {
    await client.workflow.start('commitTable', {
      workflowId: commitTableId(commit),
      taskQueue,
      args: [input],
      workflowIdConflictPolicy: 'FAIL',
      workflowIdReusePolicy: 'ALLOW_DUPLICATE',
      workflowTaskTimeout: '3s',
      staticSummary: `commit process ${processId} of table ${table}`,
      typedSearchAttributes: [
        { key: stewardResource, value: `table/${tableId}` },
        { key: stewardActor, value: actor },
      ],
    });
    return true;
  } catch (error) {
    if (error instanceof WorkflowExecutionAlreadyStartedError) return false;
    throw error;
  }
}

/** Whether the commit of a process runs now: described, because a listing lags. */
export async function isCommitting(client: Client, commit: ProcessRef): Promise<boolean> {
  try {
    const { status } = await client.workflow.getHandle(commitTableId(commit)).describe();
    return status.name === 'RUNNING' || status.name === 'PAUSED';
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return false;
    throw error;
  }
}
