import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import {
  ApplicationFailure,
  isCancellation,
  ParentClosePolicy,
  startChild,
  upsertSearchAttributes,
} from '@temporalio/workflow';
import type { RegionActivities } from '../../activities/regions.js';
import type { CreationClosing, GroupReport } from '../../src/catalog/region-groups.js';
import {
  type CreateRegionGroupsInput,
  createRegionGroupsInput,
  type RecreateMissingReplicasInput,
  type RemoveRegionGroupsInput,
} from '../../src/rules/input.js';
import type { Holder } from '../../src/rules/words.js';
import { FAILURE, grantedOrFail, guarded } from '../failures.js';
import { stewardActor, stewardDatabase, stewardPhase } from '../search-attributes.js';
import { proxySteps } from '../steps.js';
import { beyondCancellation, reconcileNodes, thisHolder } from './reconcile.js';

const { claimCreation, closeCreation } =
  proxySteps<Pick<RegionActivities, 'claimCreation' | 'closeCreation'>>();

export type CreationResult =
  | { readonly outcome: 'RUNNING'; readonly complete: number; readonly incomplete: number }
  | { readonly outcome: 'SUPERSEDED'; readonly by: Holder; readonly complete: number; readonly lost: number };

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
  const claim = grantedOrFail(await beyondCancellation(() => claimCreation(thisHolder(), input)));

  const cancellation = await orCancellation(
    reconcileNodes(
      'create',
      claim.nodes,
      `Creating ${input.groups} ${input.kind} region groups of ${input.database}`,
    ),
  );

  const closing = await beyondCancellation(() => closeCreation(thisHolder(), input));
  await beyondCancellation(() => startSuccessors(input, closing));
  upsertSearchAttributes([{ key: stewardPhase, value: 'DONE' }]);
  if (cancellation !== undefined) throw cancellation;
  return creationResult(input, closing);
}

async function startSuccessors(input: CreateRegionGroupsInput, closing: CreationClosing): Promise<void> {
  const from = thisHolder();
  const successor = { from, actor: input.actor };
  const name = `database/${input.database}/create/${input.request}`;
  if (closing.incomplete > 0) {
    const missing: RecreateMissingReplicasInput = { ...successor, database: input.database };
    await startDetached('recreateMissingReplicas', `${name}/recreate`, missing);
  }
  if (closing.withoutQuorum > 0) {
    const teardown: RemoveRegionGroupsInput = successor;
    await startDetached('removeRegionGroups', `${name}/teardown`, teardown);
  }
}

/** Starts a workflow that lives on when this one ends. One that runs already under the id was started by us before. */
async function startDetached(workflowType: string, workflowId: string, input: unknown): Promise<void> {
  try {
    await startChild(workflowType, {
      workflowId,
      args: [input],
      parentClosePolicy: ParentClosePolicy.ABANDON,
    });
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
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
    if (isCancellation(error)) return error;
    throw error;
  }
}
