import { upsertSearchAttributes } from '@temporalio/workflow';
import type { RegionActivities } from '../../activities/regions/regions.js';
import { type RemoveRegionGroupsInput, removeRegionGroupsInput } from '../../src/rules/input.js';
import type { Holder } from '../../src/rules/words.js';
import { grantedOrFail, guarded } from '../failures.js';
import { stewardActor, stewardDatabase, stewardPhase } from '../search-attributes.js';
import { proxySteps } from '../steps.js';
import { beyondCancellation, Cancellable, canceled } from './cancellation.js';
import { reconcileNodes, theOneNode, thisHolder } from './reconcile.js';

const { abandonClaim, claimRemoval, closeRemoval } =
  proxySteps<Pick<RegionActivities, 'abandonClaim' | 'claimRemoval' | 'closeRemoval'>>();

export type RemovalResult =
  | { readonly outcome: 'REMOVED'; readonly groups: number; readonly replicas: number }
  | { readonly outcome: 'SUPERSEDED'; readonly by: Holder; readonly groups: number }
  | { readonly outcome: 'CANCELED' };

/**
 * Removes region groups, any number of them, from every node that has a replica. Needs no quorum; a node that is down
 * holds up only its own replicas. From the claim on it cannot be cancelled: only the nodes' own answers end it (I1, I4).
 */
export async function removeRegionGroups(raw: RemoveRegionGroupsInput): Promise<RemovalResult> {
  const input = guarded(removeRegionGroupsInput, raw);
  const answer = await new Cancellable().claimPastReturn(
    () => claimRemoval(thisHolder(), input),
    () => abandonClaim(thisHolder(), input),
    'the removal has begun: regions may be gone already, so it goes on to its end',
  );
  if (answer.kind === 'CANCELED') return canceled(answer.cancellation, {});
  const claim = grantedOrFail(answer);
  return beyondCancellation(async () => {
    upsertSearchAttributes([
      ...(claim.database === undefined ? [] : [{ key: stewardDatabase, value: claim.database }]),
      { key: stewardActor, value: input.actor },
      { key: stewardPhase, value: 'REMOVING' },
      ...theOneNode(claim.nodes),
    ]);
    await reconcileNodes('delete', claim.nodes, `Removing ${claim.groups} region groups`);
    const closing = await closeRemoval(thisHolder());
    upsertSearchAttributes([{ key: stewardPhase, value: 'DONE' }]);
    if (closing.supersededBy !== undefined) {
      return { outcome: 'SUPERSEDED', by: closing.supersededBy, groups: closing.removedGroups };
    }
    return { outcome: 'REMOVED', groups: closing.removedGroups, replicas: closing.removedReplicas };
  });
}
