import type { EffectContext, Facility, Recovered } from './facility.js';
import type { Ledger } from './ledger.js';
import type { NodeRequest, RegionRequest } from './operation.js';
import { formatRegion } from './region-key.js';
import type { RegionStore } from './region-store.js';
import type { LiveOperation } from './resource-queues.js';

/** Creates and deletes regions in the store. */
export class RegionFacility implements Facility<RegionRequest> {
  readonly capability = 'regions';

  constructor(
    private readonly store: RegionStore,
    private readonly ledger: Ledger,
  ) {}

  async perform(request: RegionRequest, context: EffectContext): Promise<undefined> {
    if (request.verb === 'create-region') await this.store.create(request, context);
    else await this.store.delete(request.region, context);
  }

  /**
   * Deletions are resumed, and so is all that had not begun to write. A creation that was cut short is interrupted, its
   * half-made region is gone already; one that is whole on the node runs again and finds itself done.
   */
  async recover(pending: readonly LiveOperation[]): Promise<Recovered> {
    const deletions = new Set(
      pending.flatMap(({ pending: { request } }) =>
        request.verb === 'delete-region' ? [formatRegion(request.region)] : [],
      ),
    );
    const { halfMade, emptied } = await this.store.recover((region) => deletions.has(formatRegion(region)));
    const cutShort = new Set(halfMade.map(formatRegion));
    const first = new Set<string>();
    const interrupted: LiveOperation[] = [];
    for (const operation of pending) {
      const { resource, epoch } = operation.pending;
      const request = regionRequest(operation.pending.request);
      const hadBegun =
        !first.has(resource) &&
        (cutShort.has(formatRegion(request.region)) || epoch < this.ledger.highestEpoch(resource));
      first.add(resource);
      if (request.verb === 'create-region' && hadBegun && !this.store.has(request.region)) {
        interrupted.push(operation);
      }
    }
    const message = 'the node stopped while the region was being made; what had been written is removed';
    return {
      interrupted: interrupted.map((operation) => ({ operation, message })),
      settled: { halfMade: halfMade.length, emptied: emptied.length },
    };
  }

  async stop(): Promise<void> {}
}

function regionRequest(request: NodeRequest): RegionRequest {
  if (request.verb === 'create-region' || request.verb === 'delete-region') return request;
  throw new Error(`${request.verb} is no change of a region`);
}
