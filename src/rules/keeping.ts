import {
  caughtUp,
  decideOrphan,
  type KeptResource,
  type OrphanAction,
  type OrphanMemory,
  type RestartPolicy,
  whileAlive,
} from './orphans.js';

/**
 * Keeping the optimizers of a group alive: what one cycle of `keepOptimizerGroup` does, decided from values alone. Orphans
 * have their turns (src/rules/orphans.ts); what lacks all the same is requested anew.
 */

/** Settings of a group; times in milliseconds. */
export interface GroupSettings extends RestartPolicy {
  /** An optimizer that is silent for longer is gone. */
  readonly heartbeatTimeoutMs: number;
  /** Threads that the group must have. */
  readonly minParallelism: number;
  /** New requests that never registered, after which the effective minimum falls to the live threads; 0: it never does. */
  readonly maxKeepingAttempts: number;
  /** Most threads of one resource that the keeper requests. */
  readonly threadsPerOptimizer: number;
  readonly memoryMbPerOptimizer: number;
}

export const DEFAULT_GROUP_SETTINGS: GroupSettings = {
  autoRestart: false,
  maxRetries: 5,
  gracePeriodMs: 5 * 60_000,
  heartbeatTimeoutMs: 60_000,
  minParallelism: 0,
  maxKeepingAttempts: 3,
  threadsPerOptimizer: 4,
  memoryMbPerOptimizer: 512,
};

/** An optimizer whose heartbeats come. */
export interface LiveOptimizer {
  readonly resourceId: string;
  readonly threads: number;
  /** How long it has been registered. */
  readonly aliveMs: number;
}

/** What survives from cycle to cycle, in the history of the workflow. Plain JSON. */
export interface KeeperState {
  readonly orphans: Readonly<Record<string, OrphanMemory>>;
  /** New requests in a row that never registered. */
  readonly keepingAttempts: number;
  /** Fewest live threads since the configured minimum was given up; missing while it applies. More than that: capacity came. */
  readonly loweredAt?: number;
  /** Names what the next cycle requests, so that a repeated cycle asks for the same. */
  readonly cycle: number;
}

export const NEW_KEEPER: KeeperState = { orphans: {}, keepingAttempts: 0, cycle: 1 };

export type KeepingAction = OrphanAction | { readonly kind: 'request'; readonly threads: number };

export interface KeepingView {
  readonly nowMs: number;
  readonly settings: GroupSettings;
  readonly resources: readonly KeptResource[];
  readonly optimizers: readonly LiveOptimizer[];
  /** Whether the group's container is configured and starts optimizers when asked. */
  readonly canRequest: boolean;
}

export interface KeepingDecision {
  readonly actions: readonly KeepingAction[];
  /** As if every action succeeded; {@link afterCycle} corrects that. */
  readonly state: KeeperState;
  readonly effectiveMinParallelism: number;
}

/** What one cycle does. Deciding again from the same view and state gives the same. */
export function decideKeeping(view: KeepingView, state: KeeperState): KeepingDecision {
  const { nowMs, settings, resources } = view;
  const optimizerOf = new Map(view.optimizers.map((optimizer) => [optimizer.resourceId, optimizer]));
  const orphans: Record<string, OrphanMemory> = {};
  const actions: KeepingAction[] = [];
  let { keepingAttempts } = state;
  let expectedThreads = 0;

  for (const resource of resources) {
    const { resourceId, threads } = resource;
    const optimizer = optimizerOf.get(resourceId);
    const known = caughtUp(state.orphans[resourceId], resource, optimizer !== undefined, nowMs);
    if (optimizer !== undefined) {
      const remembered = whileAlive(known, optimizer.aliveMs, settings);
      if (remembered !== undefined) orphans[resourceId] = remembered;
    } else if (!resource.releasing) {
      const verdict = decideOrphan(resource, known, nowMs, settings);
      orphans[resourceId] = verdict.orphan;
      if (verdict.action !== undefined) actions.push(verdict.action);
      if (verdict.countsAsKeeping) keepingAttempts += 1;
      if (verdict.expected) expectedThreads += threads;
    }
  }

  const liveThreads = threadsOf(view.optimizers);
  const capacityCame = state.loweredAt !== undefined && liveThreads > state.loweredAt;
  const orphanCame = Object.entries(state.orphans).some(([id, { lives }]) => !lives && optimizerOf.has(id));
  if (capacityCame || orphanCame) keepingAttempts = 0;
  const isLowered = keepingAttempts >= settings.maxKeepingAttempts && settings.maxKeepingAttempts > 0;
  const effectiveMinParallelism = isLowered
    ? Math.min(liveThreads, settings.minParallelism)
    : settings.minParallelism;
  const missing = view.canRequest ? effectiveMinParallelism - liveThreads - expectedThreads : 0;
  for (let left = missing; left > 0; left -= settings.threadsPerOptimizer) {
    actions.push({ kind: 'request', threads: Math.min(left, settings.threadsPerOptimizer) });
  }
  return {
    actions,
    state: {
      orphans,
      keepingAttempts,
      ...(isLowered ? { loweredAt: Math.min(state.loweredAt ?? liveThreads, liveThreads) } : {}),
      cycle: state.cycle + 1,
    },
    effectiveMinParallelism,
  };
}

/** What a cycle made of its decision. */
export interface CycleOutcome {
  /** Restarts that were not made: the optimizer lives, or another launch came in between. */
  readonly skipped: readonly string[];
  /** Resources whose container took what it was asked for in this cycle, and those whose container did not. */
  readonly taken: readonly string[];
  readonly refused: readonly string[];
}

/** The state after a cycle: as it was decided, corrected by what came of that. */
export function afterCycle(
  decided: KeeperState,
  before: KeeperState,
  { skipped, taken, refused }: CycleOutcome,
): KeeperState {
  let state = decided;
  for (const resourceId of skipped) state = afterSkippedRestart(state, before, resourceId);
  for (const resourceId of taken) state = afterContainerAnswer(state, resourceId, true);
  for (const resourceId of refused) state = afterContainerAnswer(state, resourceId, false);
  return state;
}

/** Nothing counts of a restart that was not made. */
function afterSkippedRestart(decided: KeeperState, before: KeeperState, resourceId: string): KeeperState {
  const { [resourceId]: _, ...others } = decided.orphans;
  const known = before.orphans[resourceId];
  return { ...decided, orphans: known === undefined ? others : { ...others, [resourceId]: known } };
}

/**
 * A restart that the container did not take counts as an attempt all the same, and its threads are not expected until the
 * container takes it.
 */
function afterContainerAnswer(state: KeeperState, resourceId: string, taken: boolean): KeeperState {
  const orphan = state.orphans[resourceId];
  if (orphan === undefined || orphan.attempts === 0) return state;
  const { restartFailed: _, ...rest } = orphan;
  const answered: OrphanMemory = taken ? rest : { ...rest, restartFailed: true };
  return { ...state, orphans: { ...state.orphans, [resourceId]: answered } };
}

/** The state after an operator asked for a restart at once: the count of attempts starts again. */
export function afterRestartNow(
  state: KeeperState,
  resourceId: string,
  launch: number,
  nowMs: number,
): KeeperState {
  const forced: OrphanMemory = { firstSeenMs: nowMs, launch, attempts: 0, forced: true };
  return { ...state, orphans: { ...state.orphans, [resourceId]: forced } };
}

/** Id of the nth resource that a cycle requests: a repeated cycle asks for the same one, and no other cycle ever does. */
export function requestId(group: string, keeper: string, { cycle }: KeeperState, nth: number): string {
  return `${group.slice(0, 32)}-${keeper}-${cycle}-${nth}`;
}

export function threadsOf(optimizers: readonly Pick<LiveOptimizer, 'threads'>[]): number {
  return optimizers.reduce((total, { threads }) => total + threads, 0);
}
