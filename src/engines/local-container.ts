import { formatOperationId, resourcePath, type Verb } from '../rules/operation-id.js';
import type {
  LaunchAnswer,
  OptimizerContainer,
  OptimizerLaunch,
  OptimizerPlace,
  ReleaseAnswer,
} from './containers.js';
import type { OperationStatus } from './nodes.js';
import type { OptimizerEngine, ResourceOperation, ResourceOperationStatus } from './optimizers.js';

/** Optimizers as processes that the nodes start and stop. */
export class LocalContainer implements OptimizerContainer {
  readonly supportsAutoRestart = true;
  readonly startsOptimizers = true;
  readonly onNodes = true;

  constructor(private readonly engine: OptimizerEngine) {}

  async request(launch: OptimizerLaunch): Promise<LaunchAnswer> {
    const { group, threads, memoryMb, properties } = launch;
    const change = { verb: 'request-resource' as const, group, threads, memoryMb, properties };
    const status = await this.#submit(launch, change);
    const open = openAnswer(status);
    if (open !== undefined) return open;
    if (status.started === undefined) {
      return { state: 'FAILED', reason: 'the node did not say what it started' };
    }
    return { state: 'STARTED', ...status.started };
  }

  async release(place: OptimizerPlace): Promise<ReleaseAnswer> {
    const status = await this.#submit(place, { verb: 'release-resource' });
    return openAnswer(status) ?? { state: 'RELEASED' };
  }

  async #submit(
    place: OptimizerPlace,
    change: ResourceOperation['change'],
  ): Promise<ResourceOperationStatus> {
    const { catalogId, resourceId, epoch, attempt, node } = place;
    if (node === undefined) throw new Error(`${resourceId} has no node`);
    const resource = { catalogId, resourceId };
    const verb: Verb = change.verb;
    const path = resourcePath(resource);
    const operationId = formatOperationId({ verb, path, nodeId: node.nodeId, epoch, attempt });
    const [status] = await this.engine.submit(node, [{ operationId, epoch, resource, change }]);
    if (status === undefined) throw new Error(`${node.nodeId} answered nothing for ${operationId}`);
    return status;
  }
}

/** What is not SUCCESS, as both answers tell it. */
function openAnswer(
  status: OperationStatus,
): { readonly state: 'PENDING' | 'FAILED'; readonly reason: string } | undefined {
  switch (status.state) {
    case 'SUCCESS':
      return undefined;
    case 'FAIL':
      return { state: 'FAILED', reason: `${status.code}: ${status.message}` };
    case 'PROCESSING':
      return { state: 'PENDING', reason: `under way for ${status.ageMs} ms` };
    case 'TASK_NOT_EXIST':
      return { state: 'PENDING', reason: 'not accepted yet' };
    case 'REFUSED': {
      const reason = `refused, ${status.code}: ${status.message}`;
      return { state: status.code === 'RESOURCE_EXHAUSTED' ? 'PENDING' : 'FAILED', reason };
    }
  }
}
