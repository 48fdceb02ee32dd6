import type { Faults } from './faults.js';
import type { Ledger } from './ledger.js';
import type { Result } from './operation.js';
import { formatRegion, type RegionKey } from './region-key.js';
import { type EffectContext, RegionError, type RegionStore } from './region-store.js';
import type { LiveOperation, Perform } from './resource-queues.js';

/** Carries out region operations on the store, disturbed by the faults that are set. */
export function performRegionOperations(store: RegionStore, ledger: Ledger, faults: Faults): Perform {
  return async (operation) => {
    const { pending, abort } = operation;
    const { request } = pending;
    const strike = faults.strikeEffect(request.verb, pending.id);
    abort.signal.throwIfAborted();
    const { cleared, fail } = strike;
    if (fail !== undefined && !fail.afterEffect) {
      await faults.hold(strike.delayMs, abort.signal, cleared);
      return { state: 'FAIL', code: 'INTERNAL', message: fail.message };
    }
    const context: EffectContext = {
      signal: abort.signal,
      progress: operation.progress,
      report: (progress) => {
        if (progress.total > operation.progress.total && progress.done < progress.total) {
          ledger.noteProgress(pending, progress);
        }
        operation.report(progress);
      },
      midway: () => faults.hold(strike.delayMs, abort.signal, cleared),
    };
    try {
      if (request.verb === 'create-region') await store.create(request, context);
      else await store.delete(request.region, context);
    } catch (error) {
      if (!(error instanceof RegionError)) throw error;
      return { state: 'FAIL', code: error.code, message: error.message };
    }
    if (fail !== undefined) return { state: 'FAIL', code: 'INTERNAL', message: fail.message };
    return { state: 'SUCCESS' };
  };
}

/**
 * What a restart does with the operations that were under way: deletions are resumed, and so is all that had not begun
 * to write. A creation that was cut short ends as FAIL(INTERRUPTED), its half-made region is gone already; one that is
 * whole on the node runs again and finds itself done. Nothing disappears (I2, I4).
 */
export async function recoverRegionOperations(
  pending: readonly LiveOperation[],
  halfMade: readonly RegionKey[],
  store: RegionStore,
  ledger: Ledger,
): Promise<{ resumed: LiveOperation[]; interrupted: LiveOperation[] }> {
  const cutShort = new Set(halfMade.map(formatRegion));
  const first = new Set<string>();
  const resumed: LiveOperation[] = [];
  const interrupted: LiveOperation[] = [];
  for (const operation of pending) {
    const { request, resource, epoch } = operation.pending;
    const hadBegun =
      !first.has(resource) &&
      (cutShort.has(formatRegion(request.region)) || epoch < ledger.highestEpoch(resource));
    first.add(resource);
    const isLost = request.verb === 'create-region' && hadBegun && !store.has(request.region);
    (isLost ? interrupted : resumed).push(operation);
  }
  await Promise.all(
    interrupted.map((operation) => ledger.end(operation.pending, INTERRUPTED, operation.progress)),
  );
  return { resumed, interrupted };
}

const INTERRUPTED: Result = {
  state: 'FAIL',
  code: 'INTERRUPTED',
  message: 'the node stopped while the region was being made; what had been written is removed',
};
