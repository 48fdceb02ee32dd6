import type { JobEngine, TaskGroupOperation } from '../../src/engines/jobs.js';
import type { EngineNode, OperationStatus } from '../../src/engines/nodes.js';
import { SUBMIT_BATCH } from '../../src/rules/bounds.js';
import { formatOperationId, type TaskGroupLocation, taskGroupPath } from '../../src/rules/operation-id.js';

/** How an operation on a task group is named and fenced, whoever asks for it: asked again, it is the same one. */
export function taskGroupOperation(
  verb: TaskGroupOperation['change']['verb'],
  location: TaskGroupLocation,
  { node, epoch, attempt }: { readonly node: EngineNode; readonly epoch: number; readonly attempt: number },
): Omit<TaskGroupOperation, 'change'> {
  const path = taskGroupPath(location);
  return {
    operationId: formatOperationId({ verb, path, nodeId: node.nodeId, epoch, attempt }),
    epoch,
    location,
  };
}

/** Submits them to one node, in batches; answers one status for each, in their order. */
export async function submitTaskGroups(
  engine: JobEngine,
  node: EngineNode,
  operations: readonly TaskGroupOperation[],
): Promise<OperationStatus[]> {
  const statuses: OperationStatus[] = [];
  for (let from = 0; from < operations.length; from += SUBMIT_BATCH) {
    statuses.push(...(await engine.submit(node, operations.slice(from, from + SUBMIT_BATCH))));
  }
  return statuses;
}
