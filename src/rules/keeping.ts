/**
 * Keeping the optimizers of a group alive: what one cycle of `keepOptimizerGroup` does, decided from values alone. A
 * resource without a live optimizer is an *orphan*; it has a grace in which its optimizer may come (back) by itself.
 */

/** Settings of a group; times in milliseconds. */
export interface GroupSettings {
  readonly autoRestart: boolean;
  /** Restarts of one orphan before it is cleaned up. */
  readonly maxRetries: number;
  /** From the first detection of an orphan, and between its restarts, counted from the last one. */
  readonly gracePeriodMs: number;
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

/** A resource as the catalog has it. */
export interface KeptResource {
  readonly resourceId: string;
  readonly threads: number;
  /** Number of its launch. */
  readonly launch: number;
  /** Whether any optimizer ever registered for it. */
  readonly everRegistered: boolean;
  readonly releasing: boolean;
  /** What its container can do; `UNKNOWN` when it is not configured any more. */
  readonly container: 'RESTARTS' | 'OPTS_OUT' | 'UNKNOWN';
}

/** An optimizer whose heartbeats come. */
export interface LiveOptimizer {
  readonly resourceId: string;
  readonly threads: number;
  /** How long it has been registered. */
  readonly aliveMs: number;
}

/** What the keeper remembers of a resource that has, or lately had, no live optimizer. */
export interface OrphanMemory {
  readonly firstSeenMs: number;
  /** Launch that was found without an optimizer: the next one asks for exactly one more. */
  readonly launch: number;
  readonly attempts: number;
  readonly lastRestartMs?: number;
  /** The container did not take the last restart: its threads are counted on no more. */
  readonly restartFailed?: boolean;
  /** Its optimizer lives again, but has not lived for one grace yet. */
  readonly lives?: boolean;
  /** It was told already why it is left to its container. */
  readonly toldOptOut?: 'OPTS_OUT' | 'UNKNOWN';
  /** Its request never registered within the grace, and that was counted. */
  readonly countedAsKeeping?: boolean;
  /** An operator asked for a restart at once; whatever the settings say. */
  readonly forced?: boolean;
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

export type KeepingAction =
  /** Start it again in its place: launch n+1, set only from n. */
  | {
      readonly kind: 'restart';
      readonly resourceId: string;
      readonly fromLaunch: number;
      readonly attempt: number;
    }
  /** Its restarts are used up: release it, unless an optimizer registered meanwhile and lives. */
  | { readonly kind: 'cleanUp'; readonly resourceId: string; readonly attempts: number }
  /** Its container is not ours to restart: said once per orphaning. */
  | { readonly kind: 'tellOptOut'; readonly resourceId: string; readonly because: 'OPTS_OUT' | 'UNKNOWN' }
  | { readonly kind: 'request'; readonly threads: number };

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
  /** As if every action succeeded; {@link afterSkippedRestart} and {@link afterContainerAnswer} correct that. */
  readonly state: KeeperState;
  readonly effectiveMinParallelism: number;
}

/** When an orphan is restarted, or cleaned up, next. */
export function nextTurnMs(orphan: OrphanMemory, { gracePeriodMs }: GroupSettings): number {
  return (orphan.lastRestartMs ?? orphan.firstSeenMs) + gracePeriodMs;
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
    const { resourceId } = resource;
    const known = caughtUp(state.orphans[resourceId], resource, optimizerOf.has(resourceId), nowMs);
    const optimizer = optimizerOf.get(resourceId);
    if (optimizer !== undefined) {
      // It keeps its attempts until it has lived for one grace: what dies right after every restart is still dying.
      if (known !== undefined && known.attempts > 0 && optimizer.aliveMs < settings.gracePeriodMs) {
        const { restartFailed: _failed, forced: _forced, ...rest } = known;
        orphans[resourceId] = { ...rest, lives: true };
      }
      continue;
    }
    if (resource.releasing) continue;
    const { lives: _, ...orphan }: OrphanMemory = known ?? {
      firstSeenMs: nowMs,
      launch: resource.launch,
      attempts: 0,
    };
    const due = orphan.forced === true || nowMs >= nextTurnMs(orphan, settings);
    const verdict = due ? decideOrphan(resource, orphan, view) : waiting(orphan);
    if (verdict.action !== undefined) actions.push(verdict.action);
    if (verdict.orphan !== undefined) orphans[resourceId] = verdict.orphan;
    if (verdict.countsAsKeeping) keepingAttempts += 1;
    if (verdict.expected) expectedThreads += resource.threads;
  }

  const liveThreads = sum(view.optimizers.map(({ threads }) => threads));
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

/**
 * What is remembered, brought up to launches that the catalog has and the memory does not: a cycle whose answer was lost,
 * or a workflow that was reset. No attempt is lost. One launch ahead without an optimizer is asked for again, and joined.
 */
function caughtUp(
  known: OrphanMemory | undefined,
  { launch }: KeptResource,
  isAlive: boolean,
  nowMs: number,
): OrphanMemory | undefined {
  if (known === undefined || launch === known.launch) return known;
  // A catalog that was restored to an older point: what is launched next follows what it has.
  if (launch < known.launch) return { ...known, launch };
  if (!isAlive && launch === known.launch + 1) return known;
  const { forced: _, ...rest } = known;
  return { ...rest, attempts: known.attempts + launch - known.launch, launch, lastRestartMs: nowMs };
}

interface OrphanVerdict {
  readonly orphan?: OrphanMemory;
  readonly action?: KeepingAction;
  /** Its threads are on their way: nothing is requested in their stead. */
  readonly expected: boolean;
  readonly countsAsKeeping?: boolean;
}

/** In its grace: its optimizer may come by itself. */
function waiting(orphan: OrphanMemory): OrphanVerdict {
  return { orphan, expected: orphan.restartFailed !== true };
}

function decideOrphan(resource: KeptResource, orphan: OrphanMemory, view: KeepingView): OrphanVerdict {
  const { nowMs, settings } = view;
  const { resourceId, container } = resource;
  const isForced = orphan.forced === true;
  const countsAsKeeping = !resource.everRegistered && orphan.countedAsKeeping !== true;
  const counted = countsAsKeeping ? { ...orphan, countedAsKeeping: true } : orphan;
  if (container !== 'RESTARTS') {
    if (orphan.toldOptOut !== undefined) return { orphan, expected: false };
    return {
      orphan: { ...counted, toldOptOut: container },
      action: { kind: 'tellOptOut', resourceId, because: container },
      expected: false,
      countsAsKeeping,
    };
  }
  if (!settings.autoRestart && !isForced) {
    // A request that never came to life is of no use to anybody; what was alive once is left to the operator.
    if (resource.everRegistered) return { orphan: counted, expected: false, countsAsKeeping };
    return cleanUp(counted, resourceId, countsAsKeeping);
  }
  if (orphan.attempts >= settings.maxRetries && !isForced) {
    return cleanUp(counted, resourceId, countsAsKeeping);
  }
  const attempt = orphan.attempts + 1;
  const { restartFailed: _failed, forced: _forced, toldOptOut: _told, ...rest } = counted;
  return {
    orphan: { ...rest, attempts: attempt, lastRestartMs: nowMs, launch: orphan.launch + 1 },
    action: { kind: 'restart', resourceId, fromLaunch: orphan.launch, attempt },
    expected: true,
    countsAsKeeping,
  };
}

/** Its threads count until it is known that it goes: an optimizer may register before the clean-up, and is kept then. */
function cleanUp(orphan: OrphanMemory, resourceId: string, countsAsKeeping: boolean): OrphanVerdict {
  const { forced: _, ...rest } = orphan;
  const action: KeepingAction = { kind: 'cleanUp', resourceId, attempts: orphan.attempts };
  return { orphan: rest, action, expected: true, countsAsKeeping };
}

/** The state after a restart that was not made: its optimizer lives, or another launch came in between. Nothing counts. */
export function afterSkippedRestart(
  decided: KeeperState,
  before: KeeperState,
  resourceId: string,
): KeeperState {
  const { [resourceId]: _, ...others } = decided.orphans;
  const known = before.orphans[resourceId];
  return { ...decided, orphans: known === undefined ? others : { ...others, [resourceId]: known } };
}

/**
 * The state after a container answered about a restart. One that it did not take counts as an attempt all the same, and
 * its threads are not expected until the container takes it.
 */
export function afterContainerAnswer(state: KeeperState, resourceId: string, taken: boolean): KeeperState {
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

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
