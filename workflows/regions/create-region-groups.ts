import { ApplicationFailure, upsertSearchAttributes } from '@temporalio/workflow';
import type { RegionActivities } from '../../activities/regions/regions.js';
import type { CreationClosing, GroupReport } from '../../src/catalog/creation.js';
import { FAILURE } from '../../src/rules/failure-types.js';
import {
  type CreateRegionGroupsInput,
  createRegionGroupsInput,
  type RecreateMissingReplicasInput,
  type RemoveRegionGroupsInput,
} from '../../src/rules/input.js';
import type { Holder } from '../../src/rules/words.js';
import { startDetached } from '../detached.js';
import { grantedOrFail, guarded } from '../failures.js';
import { recordedNameOfRun } from '../run-name.js';
import { stewardActor, stewardDatabase, stewardPhase } from '../search-attributes.js';
import { proxySteps } from '../steps.js';
import { wasCancelled } from '../was-cancelled.js';
import { beyondCancellation, Cancellable, canceled } from './cancellation.js';
import { reconcileNodes, thisHolder } from './reconcile.js';

const { claimCreation, closeCreation } =
  proxySteps<Pick<RegionActivities, 'claimCreation' | 'closeCreation'>>();

export type CreationResult =
  | { readonly outcome: 'RUNNING'; readonly complete: number; readonly incomplete: number }
  | { readonly outcome: 'SUPERSEDED'; readonly by: Holder; readonly complete: number; readonly lost: number }
  | { readonly outcome: 'CANCELED'; readonly complete: number };

/**
 * Creates region groups with their replicas on live nodes. A region group runs as soon as it has its quorum; what it still
 * lacks is brought by a detached recreateMissingReplicas. Region groups without quorum are torn down by a detached
 * removeRegionGroups, and this workflow fails with RegionGroupsIncomplete.
 */
export async function createRegionGroups(raw: CreateRegionGroupsInput): Promise<CreationResult> {
  const input = guarded(createRegionGroupsInput, raw);
  upsertSearchAttributes([
    { key: stewardDatabase, value: input.database },
    { key: stewardActor, value: input.actor },
    { key: stewardPhase, value: 'CREATING' },
  ]);
  const cancellable = new Cancellable();
  const claim = grantedOrFail(await beyondCancellation(() => claimCreation(thisHolder(), input)));

  const headline = `Creating ${input.groups} ${input.kind} region groups of ${input.database}`;
  const cancellation = await orCancellation(
    cancellable.run(() => reconcileNodes('create', claim.nodes, headline)),
  );
  cancellable.pass('the creation is over; take region groups away with: steward region-group remove');

  const closing = await beyondCancellation(() => closeCreation(thisHolder(), input));
  await beyondCancellation(() => startSuccessors(input, closing));
  upsertSearchAttributes([{ key: stewardPhase, value: 'DONE' }]);
  if (cancellation !== undefined) return await canceled(cancellation, { complete: closing.complete });
  return creationResult(input, closing);
}

async function startSuccessors(input: CreateRegionGroupsInput, closing: CreationClosing): Promise<void> {
  const from = thisHolder();
  const successor = { from, actor: input.actor };
  // Named after this chain, so that a creation that is driven on hands over to a successor of its own.
  const name = () =>
    `database/${input.database}/create/${input.request}/${recordedNameOfRun(from.firstRunId)}`;
  if (closing.incomplete > 0) {
    const missing: RecreateMissingReplicasInput = { ...successor, database: input.database };
    await startDetached('recreateMissingReplicas', `${name()}/recreate`, missing);
  }
  if (closing.withoutQuorum > 0) {
    const teardown: RemoveRegionGroupsInput = successor;
    await startDetached('removeRegionGroups', `${name()}/teardown`, teardown);
  }
}

function creationResult(input: CreateRegionGroupsInput, closing: CreationClosing): CreationResult {
  if (closing.withoutQuorum > 0) {
    throw ApplicationFailure.nonRetryable(
      `${closing.withoutQuorum} of ${input.groups} region groups missed their quorum and are being removed: ` +
        closing.reports.map(describeGroup).join('; '),
      FAILURE.REGION_GROUPS_INCOMPLETE,
      closing,
    );
  }
  if (closing.supersededBy !== undefined && closing.lost > 0) {
    return {
      outcome: 'SUPERSEDED',
      by: closing.supersededBy,
      complete: closing.complete,
      lost: closing.lost,
    };
  }
  return { outcome: 'RUNNING', complete: closing.complete, incomplete: closing.incomplete };
}

function describeGroup({ groupId, outcome, replicas }: GroupReport): string {
  const states = replicas.map(
    ({ nodeId, state, error }) => `${nodeId} ${state}${error ? ` (${error})` : ''}`,
  );
  return `${groupId} ${outcome}: ${states.join(', ')}`;
}

/** Waits; a cancellation is answered as a value, so that the caller can close what it has. */
async function orCancellation(work: Promise<void>): Promise<unknown> {
  try {
    await work;
    return undefined;
  } catch (error) {
    if (wasCancelled(error)) return error;
    throw error;
  }
}
