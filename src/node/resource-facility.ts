import { Desired } from '../optimizer/place.js';
import type { EffectContext, Facility, Recovered } from './facility.js';
import type { ResourceKey, ResourceRequest, ResourceStarted } from './operation.js';
import type { OptimizerContainer } from './optimizer-container.js';
import type { LiveOperation } from './resource-queues.js';

/** Starts and releases optimizer resources in the `local` container. */
export class ResourceFacility implements Facility<ResourceRequest> {
  readonly capability = 'resources';

  constructor(private readonly container: OptimizerContainer) {}

  async perform(request: ResourceRequest, context: EffectContext): Promise<ResourceStarted | undefined> {
    if (request.verb === 'request-resource') {
      const { resource, group, threads, memoryMb, properties } = request;
      const desired = Desired.parse({
        launch: context.epoch,
        group,
        threads,
        memoryMb,
        properties,
        wanted: true,
      });
      return this.container.start(resource, desired, context);
    }
    await this.container.release(request.resource, context);
    return undefined;
  }

  /** Nothing is interrupted: a start finds what it had begun, a release goes on. */
  async recover(pending: readonly LiveOperation[]): Promise<Recovered> {
    const { adopted, started } = this.container.recover((key) =>
      pending.some(({ pending: { request } }) => 'resource' in request && same(request.resource, key)),
    );
    return { interrupted: [], settled: { adoptedOptimizers: adopted, startedOptimizers: started } };
  }

  async stop(): Promise<void> {
    await this.container.stop();
  }
}

function same(a: ResourceKey, b: ResourceKey): boolean {
  return a.catalogId === b.catalogId && a.resourceId === b.resourceId;
}
