import {
  proxyActivities,
  setCurrentDetails,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import type { StrayActivities } from '../../activities/optimizers/sweep-optimizers.js';
import type { NodeSurvey, SweepActivities } from '../../activities/regions/sweep.js';
import type { StandingHolder } from '../../src/catalog/sightings.js';
import { type SweepReplicasInput, sweepReplicasInput } from '../../src/rules/input.js';
import { DURABLE_STEP, RECONCILE } from '../activity-options.js';
import { startDetached } from '../detached.js';
import { guarded } from '../failures.js';
import { recordedNameOfRun } from '../run-name.js';
import { stewardActor, stewardPhase } from '../search-attributes.js';

const { nodesToSweep } = proxyActivities<SweepActivities>(DURABLE_STEP);
const { surveyNode, repairLeaks, repairMissing, lackingReplicas, orphanedClaims } =
  proxyActivities<SweepActivities>(RECONCILE);
const { releaseStrays } = proxyActivities<StrayActivities>(RECONCILE);

export interface SweepResult {
  readonly mode: 'observe' | 'repair';
  readonly nodes: readonly NodeSurvey[];
  /** Region groups that lack replicas for longer than the grace, and nobody is bringing them. */
  readonly lacking: readonly number[];
  /** Leaked regions removed from nodes; only in `repair`. */
  readonly removed: number;
  /** Optimizers ended that the catalog does not have where they were; only in `repair`. */
  readonly released?: number;
  /** Workflows started to bring missing replicas; only in `repair`. */
  readonly recreations: readonly string[];
  /** Workflows whose claim had lost its workflow, started again. */
  readonly drivenOn: readonly string[];
}

/**
 * Compares what nodes hold with what the catalog says, reports what has differed for longer than the grace, and in
 * `repair` mends it. In both modes a claim whose workflow is gone is driven on (I8).
 */
export async function sweepReplicas(raw?: Partial<SweepReplicasInput>): Promise<SweepResult> {
  const input = guarded(sweepReplicasInput, raw);
  upsertSearchAttributes([
    { key: stewardActor, value: input.actor },
    { key: stewardPhase, value: input.mode === 'repair' ? 'SWEEP_REPAIR' : 'SWEEP_OBSERVE' },
  ]);
  const drivenOn = await driveOn(
    await orphanedClaims.executeWithOptions({ summary: 'find claims whose workflow is gone' }, []),
  );
  const nodeIds = await nodesToSweep.executeWithOptions({ summary: 'list the nodes' }, []);
  const nodes = await Promise.all(
    nodeIds.map((nodeId) =>
      surveyNode.executeWithOptions({ summary: `survey ${nodeId}` }, [nodeId, input.gracePeriodMs]),
    ),
  );
  setCurrentDetails(describe(nodes));
  if (input.mode === 'observe') {
    const summary = 'find region groups that lack replicas';
    const lacking = await lackingReplicas.executeWithOptions({ summary }, [input.gracePeriodMs]);
    return { mode: 'observe', nodes, lacking, removed: 0, released: 0, recreations: [], drivenOn };
  }
  const removed = await Promise.all(
    nodes
      .filter(({ leaked }) => leaked.length > 0)
      .map(({ nodeId, leaked }) =>
        repairLeaks.executeWithOptions({ summary: `delete ${leaked.length} leaked regions on ${nodeId}` }, [
          nodeId,
          leaked,
        ]),
      ),
  );
  const released = await Promise.all(
    nodes.flatMap(({ nodeId, strays = [] }) =>
      strays.length === 0
        ? []
        : releaseStrays.executeWithOptions(
            { summary: `end ${strays.length} stray optimizers on ${nodeId}` },
            [nodeId, strays],
          ),
    ),
  );
  const lost = nodes.flatMap(({ nodeId, missing }) => missing.map((groupId) => ({ nodeId, groupId })));
  const missing = await repairMissing.executeWithOptions({ summary: 'prepare what is missing' }, [
    lost,
    input.gracePeriodMs,
  ]);
  const recreations: string[] = [];
  for (const { database, groups } of missing) {
    const workflowId = `database/${database}/recreate/${recordedNameOfRun(workflowInfo().runId)}`;
    await startDetached('recreateMissingReplicas', workflowId, { database, groups, actor: input.actor });
    recreations.push(workflowId);
  }
  return {
    mode: 'repair',
    nodes,
    lacking: missing.flatMap(({ groups }) => groups),
    removed: total(removed),
    released: total(released),
    recreations,
    drivenOn,
  };
}

function total(counts: readonly number[]): number {
  return counts.reduce((sum, count) => sum + count, 0);
}

/**
 * Starts the workflow of each claim again, under its own id: as it was asked for, or, where the claim may have shrunk since,
 * with what its holder still holds.
 */
async function driveOn(orphaned: readonly StandingHolder[]): Promise<string[]> {
  for (const { workflowId, firstRunId, workflowType, input } of orphaned) {
    const again =
      workflowType === 'removeRegionGroups' || workflowType === 'recreateMissingReplicas'
        ? { ...(input as object), groups: undefined, from: { workflowId, firstRunId } }
        : input;
    await startDetached(workflowType, workflowId, again);
  }
  return orphaned.map(({ workflowId }) => workflowId);
}

function describe(nodes: readonly NodeSurvey[]): string {
  const rows = nodes.map(
    ({ nodeId, regions, leakedTotal, missingTotal, straysTotal = 0, unreachable }) =>
      `| ${nodeId} | ${regions} | ${leakedTotal} | ${missingTotal} | ${straysTotal} | ${unreachable ?? ''} |`,
  );
  const header = [
    '| node | regions | leaked | missing | stray optimizers | |',
    '| --- | --- | --- | --- | --- | --- |',
  ];
  return [...header, ...rows].join('\n');
}
