import type { Client } from '@temporalio/client';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';

/** The histories of all workflows of a namespace, as `temporal workflow show --output json` prints them. */
export async function allHistories({
  connection,
  options: { namespace },
}: Client): Promise<{ workflowId: string; json: string }[]> {
  // The workflow client itself would read the memos, which may be encrypted.
  const { executions } = await connection.workflowService.listWorkflowExecutions({
    namespace,
    pageSize: 1000,
  });
  return Promise.all(
    executions.map(async ({ execution }) => {
      const { history } = await connection.workflowService.getWorkflowExecutionHistory({
        namespace,
        execution: execution!,
      });
      return { workflowId: execution!.workflowId!, json: historyToJSON(history!) };
    }),
  );
}

/** A text with what is base64 in it, which payloads are in JSON, spelled out behind it. */
export function spelledOut(json: string): string {
  const decoded = [...json.matchAll(/"([A-Za-z0-9+/]{8,}={0,2})"/g)].map(([, text]) =>
    Buffer.from(text!, 'base64').toString('latin1'),
  );
  return [json, ...decoded].join('\n');
}
