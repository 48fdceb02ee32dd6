import type { EffectContext, Facility } from './facility.js';
import { EffectError } from './facility.js';
import type { Faults } from './faults.js';
import type { Ledger } from './ledger.js';
import type { NodeRequest } from './operation.js';
import type { LiveOperation, Perform } from './resource-queues.js';

/** The facilities of a node, by what they carry out; one that is missing is refused as UNSUPPORTED. */
export interface Facilities {
  readonly regions: Facility;
  readonly resources?: Facility;
  readonly taskGroups?: Facility;
}

/** The facility that carries out the request; undefined when the node lacks it. */
export function facilityOf(facilities: Facilities, { verb }: NodeRequest): Facility | undefined {
  switch (verb) {
    case 'create-region':
    case 'delete-region':
      return facilities.regions;
    case 'request-resource':
    case 'release-resource':
      return facilities.resources;
    case 'deploy-task-group':
    case 'cancel-task-group':
      return facilities.taskGroups;
    default:
      throw new Error(`unknown verb ${String(verb satisfies never)}`);
  }
}

/** Carries out operations through the facilities, disturbed by the faults that are set. */
export function performOperations(facilities: Facilities, ledger: Ledger, faults: Faults): Perform {
  return async (operation) => {
    const { pending, abort } = operation;
    const { request } = pending;
    const facility = facilityOf(facilities, request);
    if (facility === undefined) {
      const message = `this node was started without what ${request.verb} needs`;
      return { state: 'FAIL', code: 'INTERNAL', message };
    }
    const strike = faults.strikeEffect(request.verb, pending.id);
    abort.signal.throwIfAborted();
    const { cleared, fail } = strike;
    if (fail !== undefined && !fail.afterEffect) {
      await faults.hold(strike.delayMs, abort.signal, cleared);
      return { state: 'FAIL', code: 'INTERNAL', message: fail.message };
    }
    const context: EffectContext = {
      epoch: pending.epoch,
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
    let resource: Awaited<ReturnType<Facility['perform']>>;
    try {
      resource = await facility.perform(request, context);
    } catch (error) {
      if (!(error instanceof EffectError)) throw error;
      return { state: 'FAIL', code: error.code, message: error.message };
    }
    if (fail !== undefined) return { state: 'FAIL', code: 'INTERNAL', message: fail.message };
    return resource === undefined ? { state: 'SUCCESS' } : { state: 'SUCCESS', resource };
  };
}

/** What a restart does with what was under way: resumed, or recorded as FAIL(INTERRUPTED); nothing disappears (I2, I4). */
export async function recoverOperations(
  facilities: Facilities,
  ledger: Ledger,
  pending: readonly LiveOperation[],
): Promise<{ resumed: LiveOperation[]; interrupted: number; settled: Record<string, number> }> {
  const interrupted = new Set<LiveOperation>();
  const settled: Record<string, number> = {};
  for (const facility of [facilities.regions, facilities.resources, facilities.taskGroups]) {
    if (facility === undefined) continue;
    const own = pending.filter(({ pending: { request } }) => facilityOf(facilities, request) === facility);
    const recovered = await facility.recover(own);
    Object.assign(settled, recovered.settled);
    for (const { operation, message } of recovered.interrupted) {
      await ledger.end(
        operation.pending,
        { state: 'FAIL', code: 'INTERRUPTED', message },
        operation.progress,
      );
      interrupted.add(operation);
    }
  }
  const resumed = pending.filter((operation) => !interrupted.has(operation));
  return { resumed, interrupted: interrupted.size, settled };
}
