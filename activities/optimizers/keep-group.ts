import type { Catalog } from '../../src/catalog/catalog.js';
import {
  expireOptimizers,
  type KeptGroup,
  liveOptimizers,
  takeGroup,
  viewGroup,
} from '../../src/catalog/optimizers/keeping.js';
import type { Containers } from '../../src/engines/containers.js';
import type { Logger } from '../../src/log.js';
import { noteOrphans } from '../../src/metrics/optimizers.js';
import type { Settings } from '../../src/model/settings.js';
import type { Driven } from '../../src/rules/driving.js';
import { afterCycle, decideKeeping, type KeeperState, threadsOf } from '../../src/rules/keeping.js';
import { heartbeating } from '../heartbeating.js';
import { ownPause, pausedText } from '../pauses.js';
import { carryOut } from './carry-out.js';
import { driveResources } from './drive-resources.js';
import { requireGroup } from './known-group.js';

export interface KeeperDependencies {
  readonly catalog: Catalog;
  readonly catalogId: string;
  readonly containers: Containers;
  readonly settings: Pick<Settings, 'nodeTimeoutMs'>;
  readonly log: Logger;
}

export interface CycleInput {
  readonly group: string;
  /** Names the keeper, so that what it requests is named after it and never asked for by another one. */
  readonly keeper: string;
  readonly state: KeeperState;
}

/** What a cycle left behind; counts and ids only, it goes into the history. */
export interface CycleReport {
  readonly state: KeeperState;
  readonly configuredMinParallelism: number;
  readonly effectiveMinParallelism: number;
  readonly liveThreads: number;
  readonly liveOptimizers: number;
  readonly restarted: readonly string[];
  readonly cleanedUp: readonly string[];
  readonly requested: readonly string[];
  /** Resources that their container has not started, or not released, yet, and why. */
  readonly open: readonly string[];
}

export type KeeperActivities = ReturnType<typeof createKeeperActivities>;

/** The activity of the keeper of an optimizer group. */
export function createKeeperActivities(dependencies: KeeperDependencies) {
  return {
    /**
     * One cycle: lets go of silent optimizers, decides, does it, and asks the containers. It may be repeated at any moment:
     * what the cycle before did under the same state is joined.
     */
    keepGroup: (cycle: CycleInput): Promise<CycleReport> => heartbeating(() => keep(dependencies, cycle)),
  };
}

async function keep(
  dependencies: KeeperDependencies,
  { group, keeper, state: before }: CycleInput,
): Promise<CycleReport> {
  const { catalog, containers, log } = dependencies;
  const kept = await requireGroup(catalog, group);
  const pause = await ownPause(catalog);
  if (pause !== undefined) return heldReport(catalog, group, kept, before, pausedText(pause));

  for (const { resourceId } of await expireOptimizers(catalog, group)) {
    log.warn({ group, resource: resourceId }, 'optimizer is silent: its row is gone');
  }
  await takeGroup(catalog, group, keeper);
  const view = await viewGroup(catalog, group, kept, containers);
  const decision = decideKeeping(view, before);
  const done = await carryOut(dependencies, { group, keeper, kept, before }, decision.actions);
  const driven = await driveResources(dependencies, group, kept.properties);

  const that = (became: Driven['kind']) =>
    driven.flatMap(({ resourceId, kind }) => (kind === became ? [resourceId] : []));
  const state = afterCycle(decision.state, before, {
    skipped: done.skipped,
    taken: that('DONE'),
    refused: that('FAILED'),
  });
  noteOrphans(group, state, kept.settings);
  return {
    state,
    configuredMinParallelism: kept.settings.minParallelism,
    effectiveMinParallelism: decision.effectiveMinParallelism,
    liveThreads: threadsOf(view.optimizers),
    liveOptimizers: view.optimizers.length,
    restarted: done.restarted,
    cleanedUp: done.cleanedUp,
    requested: done.requested,
    open: driven.flatMap((one) => (one.kind === 'DONE' ? [] : [`${one.resourceId}: ${one.reason}`])),
  };
}

/** A cycle that does nothing, and says why; it ends, so that Updates of the keeper are answered meanwhile. */
async function heldReport(
  catalog: Catalog,
  group: string,
  { settings }: KeptGroup,
  state: KeeperState,
  why: string,
): Promise<CycleReport> {
  const live = await liveOptimizers(catalog, group);
  return {
    state,
    configuredMinParallelism: settings.minParallelism,
    effectiveMinParallelism: settings.minParallelism,
    liveThreads: threadsOf(live),
    liveOptimizers: live.length,
    restarted: [],
    cleanedUp: [],
    requested: [],
    open: [why],
  };
}
