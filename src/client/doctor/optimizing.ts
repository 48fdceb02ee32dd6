import type { GetStatusResponse } from '../../rpc/gen/steward/coordinator/v1/catalog_pb.js';
import type { Heals } from '../heals.js';
import type { Temporal } from '../temporal.js';
import { enumerated, type Finding, ok, wrong } from './finding.js';

/** Heals and keepers. */

export async function examineBreaker(heals: Heals): Promise<Finding> {
  const { state, reason } = await heals.breaker();
  if (state !== 'OPEN') return ok('heals', 'the breaker is closed');
  return wrong(
    'heals',
    `the breaker is open, and nothing is healed: ${reason ?? ''}`,
    'look at what is stuck (steward heal status), mend the common cause, then: steward heal ack',
  );
}

/** Every group has to have its keeper running. */
export async function examineKeepers(status: GetStatusResponse, temporal: Temporal): Promise<Finding> {
  const { optimizerGroups: groups } = status;
  const found = await Promise.all(
    groups.map(async (group) => ({
      group,
      keeper: await temporal.describeOpen(`optimizer-group/${group}`),
    })),
  );
  const missing = found.filter(({ keeper }) => keeper === undefined).map(({ group }) => group);
  if (missing.length === 0) {
    return ok(
      'keepers',
      groups.length === 0 ? 'no optimizer groups' : `${groups.length} of ${groups.length} run`,
    );
  }
  const { SCHEDULES } = await import('../../temporal/schedules.js');
  const ensures = SCHEDULES.find(({ workflowType }) => (workflowType as string) === 'ensureKeepers');
  return wrong(
    'keepers',
    `optimizer ${missing.length === 1 ? 'group' : 'groups'} ${enumerated(missing)} ${missing.length === 1 ? 'has' : 'have'} no keeper: ` +
      'dead optimizers stay dead',
    ensures === undefined
      ? 'start them again: a worker looks for missing keepers'
      : `steward schedule trigger ${ensures.scheduleId}`,
  );
}
