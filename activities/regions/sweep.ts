import { heartbeat } from '@temporalio/activity';
import type { IsOpen } from '../../src/catalog/claims.js';
import { listNodes } from '../../src/catalog/nodes.js';
import { assignAbandonedSlots } from '../../src/catalog/partitions.js';
import {
  claimLeaks,
  claimMissing,
  dropGoneForgotten,
  groupsWithoutAllReplicas,
  type LeakRepair,
  listedOn,
  type MissingReplicas,
  pruneHolders,
  raiseLeakAttempts,
  recordLeaksRemoved,
  recordSightings,
  type StandingHolder,
  standingHolders,
} from '../../src/catalog/sightings.js';
import { type EngineNode, isUnanswered } from '../../src/engines/nodes.js';
import type { OptimizerEngine } from '../../src/engines/optimizers.js';
import type { RegionOnNode } from '../../src/engines/regions.js';
import type { Settings } from '../../src/model/settings.js';
import { SUBMIT_BATCH } from '../../src/rules/bounds.js';
import { formatOperationId, regionPath } from '../../src/rules/operation-id.js';
import { pollDelayMs } from '../../src/rules/pace.js';
import { confirmed, type Differences, findDifferences, type Stray } from '../../src/rules/sweep.js';
import { requireNotBehind } from '../catalog-behind.js';
import { requireNode } from '../known-node.js';
import { notReady } from '../not-ready.js';
import { surveyOptimizers } from '../optimizers/sweep-optimizers.js';
import { holdWhilePaused } from '../pauses.js';
import type { ReconcileDependencies } from './reconcile-regions.js';

export interface SweepDependencies extends ReconcileDependencies {
  readonly isOpen: IsOpen;
  readonly optimizers: OptimizerEngine;
  readonly settings: Pick<Settings, 'nodeTimeoutMs'>;
}

/** What a sweep found on a node. Ids are given of the first {@link MAX_REPORTED} of each kind. */
export interface NodeSurvey {
  readonly nodeId: string;
  readonly regions: number;
  /** Regions that the catalog does not list there, for longer than the grace. */
  readonly leaked: readonly number[];
  readonly leakedTotal: number;
  /** Replicas that are not on the node, for longer than the grace. */
  readonly missing: readonly number[];
  readonly missingTotal: number;
  /** Optimizers that the catalog does not have there. Absent in what an older version found. */
  readonly strays?: readonly Stray[];
  readonly straysTotal?: number;
  /** Why the node could not be asked; the rest is empty then. */
  readonly unreachable?: string;
}

export const MAX_REPORTED = 100;
/** Without any claim left, what is kept of a holder goes after this. */
const HOLDERS_KEPT_MS = 7 * 86_400_000;

export type SweepActivities = ReturnType<typeof createSweepActivities>;

/** The activities of the sweep. A node that does not answer is reported, and left to the next sweep. */
export function createSweepActivities(dependencies: SweepDependencies) {
  const { catalog, catalogId, engine, isOpen, settings, log } = dependencies;
  return {
    /** Nodes that may hold regions; the ones that are not alive are asked as well, and say so by not answering. */
    async nodesToSweep(): Promise<string[]> {
      const nodes = await listNodes(catalog, settings.nodeTimeoutMs);
      return nodes.map(({ nodeId }) => nodeId);
    },

    /** Looks at a node twice, and remembers since when it and the catalog differ. */
    async surveyNode(nodeId: string, gracePeriodMs: number): Promise<NodeSurvey> {
      const node = await requireNode(catalog, nodeId);
      const empty = { nodeId, regions: 0, leaked: [], leakedTotal: 0, missing: [], missingTotal: 0 };
      try {
        const first = await look(node);
        const second = isEmpty(first.differences) ? first : await look(node);
        const differences = confirmed(first.differences, second.differences);
        await dropGoneForgotten(catalog, nodeId, second.regions);
        const strays = await surveyOptimizers(dependencies, node);
        const due = await recordSightings(catalog, nodeId, differences, gracePeriodMs);
        const ids = (kind: 'LEAKED' | 'MISSING') =>
          due.filter((one) => one.kind === kind).map(({ groupId }) => groupId);
        const [leaked, missing] = [ids('LEAKED'), ids('MISSING')];
        for (const groupId of leaked)
          log.warn({ node: nodeId, region: groupId }, 'leaked region: the catalog does not list it');
        for (const groupId of missing)
          log.warn({ node: nodeId, region: groupId }, 'missing region: the catalog lists it');
        return {
          nodeId,
          regions: second.regions.length,
          leaked: leaked.slice(0, MAX_REPORTED),
          leakedTotal: leaked.length,
          missing: missing.slice(0, MAX_REPORTED),
          missingTotal: missing.length,
          strays: strays.slice(0, MAX_REPORTED),
          straysTotal: strays.length,
        };
      } catch (error) {
        if (isUnanswered(error)) {
          return { ...empty, unreachable: error.message };
        }
        throw error;
      }
    },

    /**
     * Removes leaked regions from a node: claims each, verifies it again, deletes it. Answers how many are gone. Asked again
     * (NotReady) while deletions run; a node that stops answering is left to the next sweep, which goes on with the same
     * operations.
     */
    async repairLeaks(nodeId: string, groupIds: readonly number[]): Promise<number> {
      const node = await requireNode(catalog, nodeId);
      await holdWhilePaused(catalog, `${nodeId}: deletions of leaked regions`);
      const repairs = await claimLeaks(catalog, nodeId, groupIds);
      let removed = groupIds.length - repairs.length;
      const ages: number[] = [];
      try {
        for (let at = 0; at < repairs.length; at += SUBMIT_BATCH) {
          const batch = repairs.slice(at, at + SUBMIT_BATCH);
          const statuses = await engine.submit(
            node,
            batch.map((repair) => deletion(nodeId, repair)),
          );
          const having = (state: string) => batch.filter((_, index) => statuses[index]!.state === state);
          const succeeded = having('SUCCESS');
          for (const { groupId } of succeeded)
            log.info({ node: nodeId, region: groupId }, 'leaked region removed');
          await recordLeaksRemoved(
            catalog,
            nodeId,
            succeeded.map(({ groupId }) => groupId),
          );
          await raiseLeakAttempts(catalog, nodeId, having('FAIL'));
          for (const status of statuses) if (status.state === 'PROCESSING') ages.push(status.ageMs);
          removed += succeeded.length;
          heartbeat();
        }
      } catch (error) {
        if (isUnanswered(error)) return removed;
        throw error;
      }
      if (ages.length === 0) return removed;
      throw notReady(
        `${nodeId}: ${ages.length} deletions of leaked regions open`,
        pollDelayMs(Math.min(...ages)),
      );
    },

    /** Prepares what is missing for its recreation; `lost` are replicas that their nodes do not have. */
    async repairMissing(
      lost: readonly { readonly nodeId: string; readonly groupId: number }[],
      gracePeriodMs: number,
    ): Promise<MissingReplicas[]> {
      const lacking = { leaked: [], missing: await groupsWithoutAllReplicas(catalog) };
      const due = await recordSightings(catalog, '', lacking, gracePeriodMs);
      return claimMissing(catalog, [...lost, ...due.map(({ groupId }) => ({ nodeId: '', groupId }))]);
    },

    /** Region groups that lack replicas for longer than the grace; changes nothing but what is remembered. */
    async lackingReplicas(gracePeriodMs: number): Promise<number[]> {
      const lacking = { leaked: [], missing: await groupsWithoutAllReplicas(catalog) };
      return (await recordSightings(catalog, '', lacking, gracePeriodMs)).map(({ groupId }) => groupId);
    },

    /** Holders whose workflow is gone: each is asked for by `describe`. What such a one left behind without a claim is done. */
    async orphanedClaims(): Promise<StandingHolder[]> {
      const orphaned: StandingHolder[] = [];
      for (const holder of await standingHolders(catalog)) {
        if (await isOpen(holder)) continue;
        log.warn(
          { workflowId: holder.workflowId, type: holder.workflowType },
          'claim whose workflow is gone',
        );
        orphaned.push(holder);
        heartbeat();
      }
      await assignAbandonedSlots(catalog);
      await pruneHolders(catalog, HOLDERS_KEPT_MS);
      return orphaned;
    },
  };

  async function look(node: EngineNode): Promise<{ regions: number[]; differences: Differences }> {
    const regions: RegionOnNode[] = [];
    for await (const region of engine.listRegions(node, catalogId)) {
      regions.push(region);
      if (regions.length % 1_000 === 0) heartbeat();
    }
    await requireNotBehind(catalog, node.nodeId, regions);
    const ids = regions.map(({ groupId }) => groupId);
    const { replicas, claimed } = await listedOn(catalog, node.nodeId, ids);
    return { regions: ids, differences: findDifferences(regions, replicas, claimed) };
  }

  function deletion(nodeId: string, { groupId, epoch, attempt }: LeakRepair) {
    const verb = 'delete-region' as const;
    return {
      operationId: formatOperationId({
        verb,
        path: regionPath({ catalogId, groupId }),
        nodeId,
        epoch,
        attempt,
      }),
      epoch,
      region: { catalogId, groupId },
      change: { verb },
    };
  }
}

function isEmpty({ leaked, missing }: Differences): boolean {
  return leaked.length === 0 && missing.length === 0;
}
