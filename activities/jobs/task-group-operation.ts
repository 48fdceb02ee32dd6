import type { TaskGroupOperation } from '../../src/engines/jobs.js';
import type { EngineNode } from '../../src/engines/nodes.js';
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
