import {
  log,
  proxyActivities,
  setCurrentDetails,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import type { LegacyQueueActivities } from '../../activities/regions/legacy-queue.js';
import { type DrainLegacyQueueInput, drainLegacyQueueInput } from '../../src/rules/input.js';
import { planDrain } from '../../src/rules/legacy-queue.js';
import { DURABLE_STEP, RECONCILE } from '../activity-options.js';
import { startDetached } from '../detached.js';
import { guarded } from '../failures.js';
import { recordedNameOfRun } from '../run-name.js';
import { stewardActor, stewardPhase } from '../search-attributes.js';

const { drainDeletions } = proxyActivities<LegacyQueueActivities>(RECONCILE);
const { drainCreations } = proxyActivities<LegacyQueueActivities>(DURABLE_STEP);

/** Where every entry of a drained queue went: the counts add up to `entries`. */
export interface DrainResult {
  readonly entries: number;
  /** Regions deleted on their node. */
  readonly deleted: number;
  /** Deletions of regions of which nothing was left. */
  readonly gone: number;
  /** Creations of region groups that lack replicas: now with a recreation. */
  readonly recreated: number;
  /** Creations of region groups that lack nothing. */
  readonly complete: number;
  /** Entries that repeat an earlier one. */
  readonly repeated: number;
  /** Entries that nothing was done about. */
  readonly warned: number;
  /** Why, at most {@link MAX_WARNINGS} of them. */
  readonly warnings: readonly string[];
  readonly recreations: readonly string[];
}

const MAX_WARNINGS = 200;

/**
 * Drains the region-maintain tasks that an older control plane had queued: a deletion removes that region on that node
 * alone, and only if the catalog does not list it; a creation becomes a recreation; everything else is named in a warning.
 * Nothing is dropped silently, and running it twice does nothing new.
 */
export async function drainLegacyQueue(raw: DrainLegacyQueueInput): Promise<DrainResult> {
  const input = guarded(drainLegacyQueueInput, raw);
  upsertSearchAttributes([
    { key: stewardActor, value: input.actor },
    { key: stewardPhase, value: 'DRAINING' },
  ]);
  const plan = planDrain(input.entries);
  setCurrentDetails(`Draining ${input.entries.length} entries of a legacy queue`);
  const [deletions, creations] = await Promise.all([
    Promise.all(
      plan.deletions.map(({ nodeId, groupIds }) =>
        drainDeletions.executeWithOptions({ summary: `drain ${groupIds.length} deletions on ${nodeId}` }, [
          nodeId,
          groupIds,
        ]),
      ),
    ),
    drainCreations.executeWithOptions({ summary: `sort ${plan.creations.length} creations` }, [
      plan.creations,
    ]),
  ]);

  const recreations: string[] = [];
  for (const { database, groups } of creations.recreate) {
    const workflowId = `database/${database}/recreate/${recordedNameOfRun(workflowInfo().runId)}`;
    await startDetached('recreateMissingReplicas', workflowId, { database, groups, actor: input.actor });
    recreations.push(workflowId);
  }

  const warnings = [
    ...plan.unreadable.map(({ at, problem }) => `${at}: ${problem}`),
    ...deletions.flatMap(({ listed }, index) =>
      listed.map(
        (id) => `DELETE of region ${id} on ${plan.deletions[index]!.nodeId}: the catalog lists it, it stays`,
      ),
    ),
    ...deletions.flatMap(({ unknownNode }, index) =>
      unknownNode.map((id) => `DELETE of region ${id}: node ${plan.deletions[index]!.nodeId} is not known`),
    ),
    ...creations.impossible.map(({ groupId, reason }) => `CREATE of region ${groupId}: ${reason}`),
  ];
  for (const warning of warnings) log.warn(warning);
  const total = (counts: readonly number[]) => counts.reduce((sum, count) => sum + count, 0);
  return {
    entries: input.entries.length,
    deleted: total(deletions.map(({ deleted }) => deleted)),
    gone: total(deletions.map(({ gone }) => gone)),
    recreated: total(creations.recreate.map(({ groups }) => groups.length)),
    complete: creations.complete.length,
    repeated: plan.repeated,
    warned: warnings.length,
    warnings: warnings.slice(0, MAX_WARNINGS),
    recreations,
  };
}
