import { activityInfo, heartbeat } from '@temporalio/activity';
import type { ApplicationFailure } from '@temporalio/common';
import {
  abandonClaim,
  type Claimant,
  findHolder,
  type HolderRow,
  type IsOpen,
} from '../../src/catalog/claims.js';
import { claimCreation, closeCreation } from '../../src/catalog/creation.js';
import { claimDatabaseDeletion, closeDatabaseDeletion } from '../../src/catalog/database-deletion.js';
import { findNode } from '../../src/catalog/nodes.js';
import { resumedAt } from '../../src/catalog/pauses.js';
import { claimRecreation, closeRecreation, releaseRecreation } from '../../src/catalog/recreation.js';
import { claimRemoval, closeRemoval } from '../../src/catalog/removal.js';
import { openReplicas, recordUncreated } from '../../src/catalog/replicas.js';
import type { Settings } from '../../src/model/settings.js';
import type {
  CreateRegionGroupsInput,
  DeleteDatabaseInput,
  RecreateMissingReplicasInput,
  RemoveRegionGroupsInput,
} from '../../src/rules/input.js';
import { describeReport, openOperations } from '../../src/rules/node-report.js';
import type { HolderRef, RegionWorkflow } from '../../src/rules/words.js';
import { notReady } from '../not-ready.js';
import {
  nextPassMs,
  type ReconcileDependencies,
  type ReconcileVerb,
  RegionPass,
} from './reconcile-regions.js';

export interface RegionActivityDependencies extends ReconcileDependencies {
  readonly isOpen: IsOpen;
  readonly settings: Pick<Settings, 'nodeTimeoutMs' | 'creationTimeoutMs'>;
}

export interface ReconcileInput {
  readonly nodeId: string;
  readonly holder: HolderRef;
  readonly verb: ReconcileVerb;
}

export type RegionActivities = ReturnType<typeof createRegionActivities>;

/** The activities of the region workflows. Each may be repeated at any moment. */
export function createRegionActivities(dependencies: RegionActivityDependencies) {
  const { catalog, isOpen, settings } = dependencies;
  const { nodeTimeoutMs } = settings;
  return {
    claimCreation: (holder: HolderRef, input: CreateRegionGroupsInput) =>
      claimCreation(catalog, claimant(holder, input), input, { nodeTimeoutMs, isOpen }),

    claimRecreation: (holder: HolderRef, input: RecreateMissingReplicasInput, round: string) =>
      claimRecreation(catalog, claimant(holder, input), input, { round, nodeTimeoutMs, isOpen }),

    claimRemoval: (holder: HolderRef, input: RemoveRegionGroupsInput) =>
      claimRemoval(catalog, claimant(holder, input), input, { isOpen }),

    claimDatabaseDeletion: (holder: HolderRef, input: DeleteDatabaseInput) =>
      claimDatabaseDeletion(catalog, claimant(holder, input), input.database, { isOpen }),

    abandonClaim: (holder: HolderRef, input: { readonly actor: string }) =>
      abandonClaim(catalog, claimant(holder, input)),

    closeCreation: (holder: HolderRef, input: CreateRegionGroupsInput) =>
      closeCreation(catalog, holder, input),
    closeRecreation: (holder: HolderRef) => closeRecreation(catalog, holder),
    closeRemoval: (holder: HolderRef) => closeRemoval(catalog, holder),
    closeDatabaseDeletion: (holder: HolderRef, { database }: DeleteDatabaseInput) =>
      closeDatabaseDeletion(catalog, holder, database),
    releaseRecreation: (holder: HolderRef) => releaseRecreation(catalog, holder),

    /**
     * Brings everything that the holder has open on a node to its end. Returns how many operations this attempt settled
     * once nothing is open; until then it fails with the benign `NotReady`, whose message names what is open and what
     * blocks (I8), and is asked again after the delay that the failure carries.
     */
    async reconcileRegions({ nodeId, holder, verb }: ReconcileInput): Promise<number> {
      const self = await findHolder(catalog, holder);
      const node = await findNode(catalog, nodeId);
      if (self === undefined || node === undefined)
        throw forgottenByCatalog(self === undefined ? holder.workflowId : nodeId);

      const report = await new RegionPass(dependencies, self, node, verb).run(() => heartbeat());
      if (openOperations(report) === 0) return report.settled;

      const message = describeReport(report);
      let delayMs = nextPassMs(report);
      // What is not submitted is not unknown: a pause stops the clock, and its end starts it again.
      if (verb === 'create' && report.paused === undefined) {
        const leftMs = settings.creationTimeoutMs - (await ageMs(self));
        if (leftMs <= 0) return report.settled + (await giveUp(self, nodeId, message));
        delayMs = Math.min(delayMs, leftMs);
      }
      throw notReady(message, delayMs);
    },
  };

  /** What is unanswered after the creation time-out counts as unknown: it may exist or not (I1). */
  async function giveUp(self: HolderRow, nodeId: string, error: string): Promise<number> {
    const which = {
      holderId: self.holder_id,
      nodeId,
      state: 'CREATING' as const,
      after: 0,
      limit: 1_000_000,
    };
    const open = await openReplicas(catalog, which);
    dependencies.log.warn(
      { node: nodeId, replicas: open.length, error },
      'creation timed out: outcome unknown',
    );
    return recordUncreated(
      catalog,
      self.holder_id,
      nodeId,
      open.map((replica) => ({ ...replica, error })),
      'UNKNOWN',
    );
  }

  /** Milliseconds since it claimed, or since its last pause ended. */
  async function ageMs(self: HolderRow): Promise<number> {
    const { age } = await catalog
      .selectFrom('holder')
      .select((expression) => expression.fn<Date>('clock_timestamp').as('age'))
      .where('holder_id', '=', self.holder_id)
      .executeTakeFirstOrThrow();
    const resumed = await resumedAt(catalog, self.workflow_id);
    return age.getTime() - Math.max(self.since.getTime(), resumed?.getTime() ?? 0);
  }
}

function claimant(holder: HolderRef, input: { readonly actor: string }): Claimant {
  return {
    ...holder,
    workflowType: activityInfo().workflowType as RegionWorkflow,
    actor: input.actor,
    input,
  };
}

/** Claims and nodes never leave the catalog while an operation needs them: only a restore to an older point takes them. */
function forgottenByCatalog(what: string): ApplicationFailure {
  return notReady(
    `BLOCKED: CATALOG_BEHIND: the catalog does not know ${what}: it was restored to an older point. What this operation has ` +
      'under way at nodes is unknown to it: terminate this workflow, sweep, and ask again',
    FORGOTTEN_RETRY_MS,
  );
}

const FORGOTTEN_RETRY_MS = 5_000;
