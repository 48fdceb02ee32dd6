import { listRegionGroups } from '../../src/catalog/inspection.js';
import { findNode } from '../../src/catalog/nodes.js';
import {
  listedOn,
  type MissingReplicas,
  openRepairs,
  recordLeakedByName,
} from '../../src/catalog/sightings.js';
import { isUnanswered } from '../../src/engines/nodes.js';
import type { RegionOnNode } from '../../src/engines/regions.js';
import { requireNotBehind } from '../catalog-behind.js';
import { unreachable } from '../not-ready.js';
import { createSweepActivities, type SweepDependencies } from './sweep.js';

/** What became of the deletions that a legacy queue asked of one node. */
export interface LegacyDeletions {
  readonly deleted: number;
  /** Nothing of the region was on the node. */
  readonly gone: number;
  /** Region groups of which the catalog lists the replica: it stays. */
  readonly listed: readonly number[];
  /** Region groups for which nothing could be done, because the catalog knows no such node. */
  readonly unknownNode: readonly number[];
}

/** What becomes of the creations that a legacy queue asked for. */
export interface LegacyCreations {
  readonly recreate: readonly MissingReplicas[];
  /** Region groups that lack nothing. */
  readonly complete: readonly number[];
  /** Region groups that do not exist, or are not RUNNING, or are under somebody's claim. */
  readonly impossible: readonly { readonly groupId: number; readonly reason: string }[];
}

export type LegacyQueueActivities = ReturnType<typeof createLegacyQueueActivities>;

/** The activities that drain an older control plane's queue. */
export function createLegacyQueueActivities(dependencies: SweepDependencies) {
  const { catalog, catalogId, engine, log } = dependencies;
  const sweep = createSweepActivities(dependencies);
  return {
    /**
     * Deletes regions on one node alone, each only if the catalog does not list it there. A node that does not answer is the
     * blocker, and so is a catalog that is behind it: asked again (NotReady) for as long as it takes.
     */
    async drainDeletions(nodeId: string, groupIds: readonly number[]): Promise<LegacyDeletions> {
      const node = await findNode(catalog, nodeId);
      if (node === undefined) {
        log.warn({ node: nodeId, regions: groupIds }, 'legacy deletions on a node that is not known');
        return { deleted: 0, gone: 0, listed: [], unknownNode: groupIds };
      }
      const regions: RegionOnNode[] = [];
      try {
        for await (const region of engine.listRegions(node, catalogId)) regions.push(region);
        await requireNotBehind(catalog, nodeId, regions);
      } catch (error) {
        if (isUnanswered(error)) throw unreachable(error, groupIds.length);
        throw error;
      }
      const present = new Set(regions.map(({ groupId }) => groupId));
      const { replicas } = await listedOn(catalog, nodeId, []);
      const here = new Set(replicas.map(({ groupId }) => groupId));
      const listed = groupIds.filter((id) => here.has(id));
      for (const groupId of listed) {
        log.warn(
          { node: nodeId, region: groupId },
          'legacy deletion of a replica that the catalog lists: it stays',
        );
      }
      for (const groupId of await openRepairs(catalog, nodeId)) present.add(groupId);
      const leaked = groupIds.filter((id) => !here.has(id) && present.has(id));
      await recordLeakedByName(catalog, nodeId, leaked);
      const deleted = leaked.length === 0 ? 0 : await sweep.repairLeaks(nodeId, leaked);
      return {
        deleted,
        gone: groupIds.length - listed.length - deleted,
        listed,
        unknownNode: [],
      };
    },

    /** Sorts region groups of which a region was to be created: what lacks replicas gets them by a recreation. */
    async drainCreations(groupIds: readonly number[]): Promise<LegacyCreations> {
      const recreate = new Map<string, number[]>();
      const complete: number[] = [];
      const impossible: { groupId: number; reason: string }[] = [];
      for (const groupId of groupIds) {
        const [group] = await listRegionGroups(catalog, { groupId, limit: 1 });
        if (group === undefined) impossible.push({ groupId, reason: 'it does not exist' });
        else if (group.state !== 'RUNNING') impossible.push({ groupId, reason: `it is ${group.state}` });
        else if (group.holder !== undefined) {
          impossible.push({ groupId, reason: `${group.holder.workflowId} is at work on it` });
        } else if (
          group.replicas.filter(({ state }) => state === 'RUNNING').length >= group.replicationFactor
        ) {
          complete.push(groupId);
        } else {
          recreate.set(group.database, [...(recreate.get(group.database) ?? []), groupId]);
        }
      }
      for (const one of impossible) log.warn(one, 'legacy creation that cannot become a recreation');
      return {
        recreate: [...recreate].map(([database, groups]) => ({ database, groups })),
        complete,
        impossible,
      };
    },
  };
}
