import { activityInfo, heartbeat } from '@temporalio/activity';
import type { Catalog } from '../../src/catalog/catalog.js';
import { canStartOptimizers, placedResources } from '../../src/catalog/optimizers/placed.js';
import { type EngineNode, isUnanswered } from '../../src/engines/nodes.js';
import type {
  OptimizerEngine,
  ResourceOnNode,
  ResourceOperationStatus,
} from '../../src/engines/optimizers.js';
import type { Logger } from '../../src/log.js';
import { SUBMIT_BATCH } from '../../src/rules/bounds.js';
import { formatOperationId, resourcePath } from '../../src/rules/operation-id.js';
import { pollDelayMs } from '../../src/rules/pace.js';
import { findStrays, launchesAhead, type Stray } from '../../src/rules/sweep.js';
import { catalogBehind } from '../catalog-behind.js';
import { requireNode } from '../known-node.js';
import { notReady } from '../not-ready.js';
import { holdWhilePaused } from '../pauses.js';

export interface StrayDependencies {
  readonly catalog: Catalog;
  readonly catalogId: string;
  readonly optimizers: OptimizerEngine;
  readonly log: Logger;
}

/**
 * Optimizers that a node holds and the catalog does not have there, at two moments. Each is told in the log.
 *
 * @throws NodeUnreachable, NodeMismatch (also CATALOG_BEHIND: the node accepted a launch that the catalog has not made)
 */
export async function surveyOptimizers(dependencies: StrayDependencies, node: EngineNode): Promise<Stray[]> {
  const { nodeId } = node;
  if (!(await canStartOptimizers(dependencies.catalog, nodeId))) return [];
  const first = await look(dependencies, node);
  if (first.strays.length === 0) return [];
  const { held, strays } = await look(dependencies, node);
  const before = new Set(first.strays.map(({ resourceId }) => resourceId));
  const confirmed = strays.filter(({ resourceId }) => before.has(resourceId));
  for (const { resourceId, because } of confirmed) {
    const { running, unacknowledged } = held.find((one) => one.resourceId === resourceId)!;
    dependencies.log.warn(
      { node: nodeId, resource: resourceId, because, running, unacknowledged },
      'stray optimizer: the catalog does not have it there',
    );
  }
  return confirmed;
}

/** The node first, the catalog then: see `findStrays`. */
async function look({ catalog, catalogId, optimizers }: StrayDependencies, node: EngineNode) {
  const { nodeId } = node;
  const held: ResourceOnNode[] = [];
  for await (const resource of optimizers.listResources(node, catalogId)) held.push(resource);
  const placed = await placedResources(
    catalog,
    held.map(({ resourceId }) => resourceId),
  );
  const [ahead] = launchesAhead(held, placed);
  if (ahead !== undefined) {
    const { resourceId, epoch } = ahead;
    throw catalogBehind(
      `${nodeId} accepted launch ${epoch} of ${resourceId} and the catalog is at ${placed.get(resourceId)!.epoch}`,
    );
  }
  return { held, strays: findStrays(nodeId, held, placed) };
}

export type StrayActivities = ReturnType<typeof createStrayActivities>;

/** The activity of the sweep that ends stray optimizers. */
export function createStrayActivities(dependencies: StrayDependencies) {
  const { catalog, catalogId, optimizers, log } = dependencies;
  return {
    /**
     * Ends stray optimizers of a node, each looked up again before. Answers how many are gone. What the catalog launches
     * there meanwhile has a higher launch, and the node refuses the release (I9). Asked again (NotReady) while releases run;
     * a node that stops answering is left to the next sweep, and so is what it refuses or fails to release; both are told.
     */
    async releaseStrays(nodeId: string, strays: readonly Stray[]): Promise<number> {
      const node = await requireNode(catalog, nodeId);
      await holdWhilePaused(catalog, `${nodeId}: releases of stray optimizers`);
      const placed = await placedResources(
        catalog,
        strays.map(({ resourceId }) => resourceId),
      );
      const due = strays.filter(({ resourceId, releaseEpoch }) => {
        const row = placed.get(resourceId);
        return (
          row === undefined || (row.nodeId !== nodeId && row.nodeId !== null && row.epoch <= releaseEpoch)
        );
      });
      let released = 0;
      const ages: number[] = [];
      try {
        for (let at = 0; at < due.length; at += SUBMIT_BATCH) {
          const batch = due.slice(at, at + SUBMIT_BATCH);
          const statuses = await submitReleases(node, batch);
          for (const [index, { resourceId }] of batch.entries()) {
            const status = statuses[index]!;
            const about = { node: nodeId, resource: resourceId };
            if (status.state === 'PROCESSING') ages.push(status.ageMs);
            else if (status.state === 'SUCCESS') {
              released += 1;
              log.info(about, 'stray optimizer ended');
            } else log.warn({ ...about, status }, 'stray optimizer not ended: the next sweep looks again');
          }
          heartbeat();
        }
      } catch (error) {
        if (!isUnanswered(error)) throw error;
        const about = { node: nodeId, due: due.length, released, problem: error.message };
        log.warn(about, 'stray optimizers not asked for: the next sweep looks again');
        return released;
      }
      if (ages.length === 0) return released;
      throw notReady(
        `${nodeId}: ${ages.length} releases of stray optimizers open`,
        pollDelayMs(Math.min(...ages)),
      );
    },
  };

  /** What failed before is asked for again as the attempt of this sweep, named by when it was scheduled (I3). */
  async function submitReleases(
    node: EngineNode,
    strays: readonly Stray[],
  ): Promise<ResourceOperationStatus[]> {
    const submit = (of: readonly Stray[], attempt: number) =>
      optimizers.submit(
        node,
        of.map((stray) => release(node.nodeId, stray, attempt)),
      );
    const first = await submit(strays, 1);
    const failed = strays.filter((_, index) => first[index]!.state === 'FAIL');
    if (failed.length === 0) return first;
    const again = await submit(failed, activityInfo().scheduledTimestampMs);
    return first.map((status) => (status.state === 'FAIL' ? again.shift()! : status));
  }

  function release(nodeId: string, { resourceId, releaseEpoch: epoch }: Stray, attempt: number) {
    const resource = { catalogId, resourceId };
    const verb = 'release-resource' as const;
    const path = resourcePath(resource);
    return {
      operationId: formatOperationId({ verb, path, nodeId, epoch, attempt }),
      epoch,
      resource,
      change: { verb },
    };
  }
}
