import type { Catalog } from '../../src/catalog/catalog.js';
import { findNode } from '../../src/catalog/nodes.js';
import type { TaskAttempt } from '../../src/catalog/optimizing/handing-out.js';
import { isUnanswered } from '../../src/engines/nodes.js';
import type { OptimizerEngine, TaskAnswer } from '../../src/engines/optimizers.js';

/** What the node has of a task that one of its optimizers was handed; undefined: nobody answers for it. */
export async function resultOnNode(
  {
    catalog,
    catalogId,
    optimizers,
  }: { readonly catalog: Catalog; readonly catalogId: string; readonly optimizers: OptimizerEngine },
  task: TaskAttempt & { readonly nodeId?: string | undefined; readonly resourceId?: string | undefined },
): Promise<TaskAnswer | undefined> {
  const node = await findNode(catalog, task.nodeId ?? '');
  if (node === undefined || task.resourceId === undefined) return undefined;
  const resource = { catalogId, resourceId: task.resourceId };
  const taskId = `${task.processId}/${task.taskNo}`;
  try {
    return await optimizers.getTaskResult(node, { resource, taskId, attempt: task.attempt });
  } catch (error) {
    if (isUnanswered(error)) return undefined;
    throw error;
  }
}
