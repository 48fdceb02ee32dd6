import { continueAsNew, sleep, upsertSearchAttributes, workflowInfo } from '@temporalio/workflow';
import type { RegionActivities } from '../../activities/regions/regions.js';
import { type RecreateMissingReplicasInput, recreateMissingReplicasInput } from '../../src/rules/input.js';
import type { Holder } from '../../src/rules/words.js';
import { grantedOrFail, guarded } from '../failures.js';
import { stewardActor, stewardDatabase, stewardPhase } from '../search-attributes.js';
import { proxySteps } from '../steps.js';
import { wasCancelled } from '../was-cancelled.js';
import { beyondCancellation, Cancellable, canceled } from './cancellation.js';
import { reconcileNodes, thisHolder } from './reconcile.js';

const { claimRecreation, closeRecreation, releaseRecreation } =
  proxySteps<Pick<RegionActivities, 'claimRecreation' | 'closeRecreation' | 'releaseRecreation'>>();

export type RecreationResult =
  | { readonly outcome: 'COMPLETE' }
  | { readonly outcome: 'SUPERSEDED'; readonly by: Holder }
  | { readonly outcome: 'CANCELED' };

const NO_NODE_WAIT_MAX_S = 60;

/**
 * Brings the replicas that running region groups lack, in rounds, until they are there or the region groups are taken
 * over. A round asks every node that was chosen until it has its replicas or an operator gave it up; what then is missing
 * gets another node in the next round.
 */
export async function recreateMissingReplicas(raw: RecreateMissingReplicasInput): Promise<RecreationResult> {
  const input = guarded(recreateMissingReplicasInput, raw);
  upsertSearchAttributes([
    { key: stewardDatabase, value: input.database },
    { key: stewardActor, value: input.actor },
    { key: stewardPhase, value: 'RECREATING' },
  ]);
  const cancellable = new Cancellable();
  try {
    await cancellable.run(() => rounds(input));
  } catch (error) {
    if (!wasCancelled(error)) throw error;
    await beyondCancellation(() => releaseRecreation(thisHolder()));
    return await canceled(error, {});
  }
  const { supersededBy } = await closeRecreation(thisHolder());
  if (supersededBy !== undefined) return { outcome: 'SUPERSEDED', by: supersededBy };
  return { outcome: 'COMPLETE' };
}

async function rounds(input: RecreateMissingReplicasInput): Promise<void> {
  for (let round = 1; ; round += 1) {
    const claim = grantedOrFail(
      await claimRecreation(thisHolder(), input, `${workflowInfo().runId}#${round}`),
    );
    if (claim.groups === 0) return;
    if (workflowInfo().continueAsNewSuggested) await continueAsNew<typeof recreateMissingReplicas>(input);
    if (claim.nodes.length === 0) {
      await sleep(`${Math.min(2 ** round, NO_NODE_WAIT_MAX_S)}s`, {
        summary: `${claim.unplaced} replicas find no live node: wait for one`,
      });
    }
    await reconcileNodes(
      'recreate',
      claim.nodes,
      `Recreating missing replicas of ${claim.groups} region groups of ${input.database}, round ${round}` +
        (claim.unplaced > 0 ? `; ${claim.unplaced} replicas find no live node` : ''),
    );
  }
}
