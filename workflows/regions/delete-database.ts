import { upsertSearchAttributes } from '@temporalio/workflow';
import type { RegionActivities } from '../../activities/regions/regions.js';
import { type DeleteDatabaseInput, deleteDatabaseInput } from '../../src/rules/input.js';
import type { Holder } from '../../src/rules/words.js';
import { grantedOrFail, guarded } from '../failures.js';
import { stewardActor, stewardDatabase, stewardPhase } from '../search-attributes.js';
import { proxySteps } from '../steps.js';
import { beyondCancellation, Cancellable, canceled } from './cancellation.js';
import { reconcileNodes, theOneNode, thisHolder } from './reconcile.js';

const { abandonClaim, claimDatabaseDeletion, closeDatabaseDeletion } =
  proxySteps<Pick<RegionActivities, 'abandonClaim' | 'claimDatabaseDeletion' | 'closeDatabaseDeletion'>>();

export type DatabaseDeletionResult =
  | { readonly outcome: 'DELETED'; readonly groups: number; readonly replicas: number }
  | { readonly outcome: 'SUPERSEDED'; readonly by: Holder }
  | { readonly outcome: 'CANCELED' };

/**
 * Deletes a database: no new region groups from the claim on, every replica removed from its node, then partition table and
 * database. A region group that is blocked holds up no other. From the claim on it cannot be cancelled (I1, I4).
 */
export async function deleteDatabase(raw: DeleteDatabaseInput): Promise<DatabaseDeletionResult> {
  const input = guarded(deleteDatabaseInput, raw);
  const answer = await new Cancellable().claimPastReturn(
    () => claimDatabaseDeletion(thisHolder(), input),
    () => abandonClaim(thisHolder(), input),
    'the deletion has begun: regions may be gone already, so it goes on to its end',
  );
  if (answer.kind === 'CANCELED') return canceled(answer.cancellation, {});
  const claim = grantedOrFail(answer);
  return beyondCancellation(async () => {
    upsertSearchAttributes([
      { key: stewardDatabase, value: input.database },
      { key: stewardActor, value: input.actor },
      { key: stewardPhase, value: 'REMOVING' },
      ...theOneNode(claim.nodes),
    ]);
    await reconcileNodes(
      'delete',
      claim.nodes,
      `Deleting database ${input.database}: ${claim.groups} region groups`,
    );
    const closing = await closeDatabaseDeletion(thisHolder(), input);
    upsertSearchAttributes([{ key: stewardPhase, value: 'DONE' }]);
    if (closing.supersededBy !== undefined) return { outcome: 'SUPERSEDED', by: closing.supersededBy };
    return { outcome: 'DELETED', groups: closing.removedGroups, replicas: closing.removedReplicas };
  });
}
