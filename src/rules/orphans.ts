/**
 * The turns of one orphan, decided from values alone. A resource without a live optimizer is an *orphan*; it has a grace in
 * which its optimizer may come (back) by itself, then it is restarted, one grace apart, until its restarts are used up.
 */

/** When an orphan is restarted, and when it is given up. Times in milliseconds. */
export interface RestartPolicy {
  readonly autoRestart: boolean;
  /** Restarts of one orphan before it is cleaned up. */
  readonly maxRetries: number;
  /** From the first detection of an orphan, and between its restarts, counted from the last one. */
  readonly gracePeriodMs: number;
}

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

export type OrphanAction =
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
  | { readonly kind: 'tellOptOut'; readonly resourceId: string; readonly because: 'OPTS_OUT' | 'UNKNOWN' };

export interface OrphanVerdict {
  /** What is remembered from here on, as if the action succeeded. */
  readonly orphan: OrphanMemory;
  readonly action?: OrphanAction;
  /** Its threads are on their way: nothing is requested in their stead. */
  readonly expected: boolean;
  /** It was requested anew and never registered, and this is the first time that it is said. */
  readonly countsAsKeeping: boolean;
}

/** When an orphan is restarted, or cleaned up, next. */
export function nextTurnMs(
  orphan: OrphanMemory,
  { gracePeriodMs }: Pick<RestartPolicy, 'gracePeriodMs'>,
): number {
  return (orphan.lastRestartMs ?? orphan.firstSeenMs) + gracePeriodMs;
}

/** What an orphan's next turn brings, in a container that restarts. NOTHING: it is left to the operator. */
export type OrphanTurn = 'RESTART' | 'CLEAN_UP' | 'NOTHING';

export function orphanTurn(
  { attempts, forced }: Pick<OrphanMemory, 'attempts' | 'forced'>,
  everRegistered: boolean,
  { autoRestart, maxRetries }: Pick<RestartPolicy, 'autoRestart' | 'maxRetries'>,
): OrphanTurn {
  if (forced === true) return 'RESTART';
  // A request that never came to life is of no use to anybody.
  if (!autoRestart) return everRegistered ? 'NOTHING' : 'CLEAN_UP';
  return attempts >= maxRetries ? 'CLEAN_UP' : 'RESTART';
}

/**
 * What is remembered, brought up to launches that the catalog has and the memory does not: a cycle whose answer was lost,
 * or a workflow that was reset. No attempt is lost. One launch ahead without an optimizer is asked for again, and joined.
 */
export function caughtUp(
  known: OrphanMemory | undefined,
  { launch }: Pick<KeptResource, 'launch'>,
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

/**
 * What is remembered of a resource whose optimizer lives. It keeps its attempts until that has lived for one grace: what dies
 * right after every restart is still dying.
 */
export function whileAlive(
  known: OrphanMemory | undefined,
  aliveMs: number,
  { gracePeriodMs }: Pick<RestartPolicy, 'gracePeriodMs'>,
): OrphanMemory | undefined {
  if (known === undefined || known.attempts === 0 || aliveMs >= gracePeriodMs) return undefined;
  const { restartFailed: _failed, forced: _forced, ...rest } = known;
  return { ...rest, lives: true };
}

/** What becomes of a resource that has no live optimizer, and is not being released. */
export function decideOrphan(
  resource: KeptResource,
  known: OrphanMemory | undefined,
  nowMs: number,
  policy: RestartPolicy,
): OrphanVerdict {
  const { resourceId, container, launch, everRegistered } = resource;
  const { lives: _, ...orphan }: OrphanMemory = known ?? { firstSeenMs: nowMs, launch, attempts: 0 };
  if (orphan.forced !== true && nowMs < nextTurnMs(orphan, policy)) return waiting(orphan);

  const countsAsKeeping = !everRegistered && orphan.countedAsKeeping !== true;
  const counted = countsAsKeeping ? { ...orphan, countedAsKeeping: true } : orphan;
  if (container !== 'RESTARTS') {
    if (orphan.toldOptOut !== undefined) return { orphan, expected: false, countsAsKeeping: false };
    return {
      orphan: { ...counted, toldOptOut: container },
      action: { kind: 'tellOptOut', resourceId, because: container },
      expected: false,
      countsAsKeeping,
    };
  }
  switch (orphanTurn(orphan, everRegistered, policy)) {
    case 'NOTHING':
      return { orphan: counted, expected: false, countsAsKeeping };
    case 'CLEAN_UP':
      return cleanUp(counted, resourceId, countsAsKeeping);
    case 'RESTART':
      return restart(counted, resourceId, countsAsKeeping, nowMs);
  }
}

/** What comes of an operator's word that an orphan be restarted at once. */
export type RestartNowVerdict =
  | { readonly kind: 'RESTART'; readonly fromLaunch: number }
  /** There is a newer launch than the one that the operator saw: somebody restarted it already. */
  | { readonly kind: 'RESTARTED' }
  /** It is not ours to restart: its container opts out, or is not configured; it is being let go; its optimizer lives. */
  | { readonly kind: 'OPTS_OUT' | 'RELEASING' | 'ALIVE' };

/** `seenLaunch`: the launch that the operator saw without an optimizer; undefined: whichever is the last one. */
export function judgeRestartNow(
  { launch, container, releasing }: KeptResource,
  seenLaunch: number | undefined,
  isAlive: boolean,
): RestartNowVerdict {
  if (seenLaunch !== undefined && launch > seenLaunch) return { kind: 'RESTARTED' };
  if (container !== 'RESTARTS') return { kind: 'OPTS_OUT' };
  if (releasing) return { kind: 'RELEASING' };
  if (isAlive) return { kind: 'ALIVE' };
  return { kind: 'RESTART', fromLaunch: launch };
}

/** In its grace: its optimizer may come by itself. */
function waiting(orphan: OrphanMemory): OrphanVerdict {
  return { orphan, expected: orphan.restartFailed !== true, countsAsKeeping: false };
}

function restart(
  orphan: OrphanMemory,
  resourceId: string,
  countsAsKeeping: boolean,
  nowMs: number,
): OrphanVerdict {
  const { launch: fromLaunch } = orphan;
  const attempt = orphan.attempts + 1;
  const { restartFailed: _failed, forced: _forced, toldOptOut: _told, ...rest } = orphan;
  return {
    orphan: { ...rest, attempts: attempt, lastRestartMs: nowMs, launch: fromLaunch + 1 },
    action: { kind: 'restart', resourceId, fromLaunch, attempt },
    expected: true,
    countsAsKeeping,
  };
}

/** Its threads count until it is known that it goes: an optimizer may register before the clean-up, and is kept then. */
function cleanUp(orphan: OrphanMemory, resourceId: string, countsAsKeeping: boolean): OrphanVerdict {
  const { forced: _, ...rest } = orphan;
  return {
    orphan: rest,
    action: { kind: 'cleanUp', resourceId, attempts: orphan.attempts },
    expected: true,
    countsAsKeeping,
  };
}
