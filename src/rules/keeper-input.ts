import {
  MAX_ID,
  MAX_OPTIMIZER_MEMORY_MB,
  MAX_OPTIMIZER_THREADS,
  MIN_OPTIMIZER_MEMORY_MB,
  OPTIMIZER_GROUP_NAME,
  RESOURCE_NAME,
} from './bounds.js';
import { actor, type Fields, InvalidInput, integer, object, text } from './input.js';
import type { GroupSettings, KeeperState } from './keeping.js';

/** Guards for the keeper of an optimizer group: its input, and what its Updates set. */
export interface KeepOptimizerGroupInput {
  readonly group: string;
  readonly actor: string;
  /** Time from the end of one cycle to the next one. Milliseconds. */
  readonly intervalMs: number;
  /** After this many cycles it continues as new, so that its history stays short. */
  readonly cyclesPerRun: number;
  /** Carried over by continue-as-new. */
  readonly carried?: CarriedKeeper;
}

export interface CarriedKeeper {
  readonly state: KeeperState;
  /** Why it is paused; missing when it is not. */
  readonly paused?: string;
  /** What the last cycle left behind, for whoever asks. */
  readonly report?: unknown;
}

export const DEFAULT_KEEPING_INTERVAL_MS = 30_000;
/** A cycle is at most 12 events: a tenth of what a history may have before Temporal suggests to continue as new. */
const DEFAULT_CYCLES_PER_RUN = 250;
const DAY_MS = 86_400_000;
const MAX_REASON_LENGTH = 500;
const MAX_GROUP_THREADS = 10_000;

export function keepOptimizerGroupInput(value: unknown): KeepOptimizerGroupInput {
  const input = object(value, ['group', 'actor', 'intervalMs', 'cyclesPerRun', 'carried']);
  return {
    group: groupName(input),
    actor: actor(input),
    intervalMs:
      input['intervalMs'] === undefined
        ? DEFAULT_KEEPING_INTERVAL_MS
        : integer(input, 'intervalMs', 50, DAY_MS),
    cyclesPerRun:
      input['cyclesPerRun'] === undefined ? DEFAULT_CYCLES_PER_RUN : integer(input, 'cyclesPerRun', 1, 1_000),
    // Only a run of this workflow hands it over.
    ...(input['carried'] === undefined ? {} : { carried: input['carried'] as CarriedKeeper }),
  };
}

export interface EnsureKeepersInput {
  readonly actor: string;
}

export function ensureKeepersInput(value: unknown): EnsureKeepersInput {
  return { actor: actor(object(value ?? {}, ['actor'])) };
}

/** What may be set of a group's settings, each within its bounds. Absolute values: asking again is safe. */
export function groupSettingsInput(value: unknown): Partial<GroupSettings> {
  const known = Object.keys(SETTING_GUARDS) as (keyof GroupSettings)[];
  const input = object(value, known);
  const entries = known
    .filter((key) => input[key] !== undefined)
    .map((key) => [key, SETTING_GUARDS[key](input)]);
  if (entries.length === 0) throw new InvalidInput('input', `nothing to set; known are ${known.join(', ')}`);
  return Object.fromEntries(entries) as Partial<GroupSettings>;
}

const SETTING_GUARDS: { readonly [K in keyof GroupSettings]: (input: Fields) => GroupSettings[K] } = {
  autoRestart: (input) => {
    const value = input['autoRestart'];
    if (typeof value !== 'boolean')
      throw new InvalidInput('autoRestart', `expected true or false, got ${String(value)}`);
    return value;
  },
  maxRetries: (input) => integer(input, 'maxRetries', 0, 1_000),
  gracePeriodMs: (input) => integer(input, 'gracePeriodMs', 100, DAY_MS),
  heartbeatTimeoutMs: (input) => integer(input, 'heartbeatTimeoutMs', 100, DAY_MS),
  minParallelism: (input) => integer(input, 'minParallelism', 0, MAX_GROUP_THREADS),
  maxKeepingAttempts: (input) => integer(input, 'maxKeepingAttempts', 0, 1_000),
  threadsPerOptimizer: (input) => integer(input, 'threadsPerOptimizer', 1, MAX_OPTIMIZER_THREADS),
  memoryMbPerOptimizer: (input) =>
    integer(input, 'memoryMbPerOptimizer', MIN_OPTIMIZER_MEMORY_MB, MAX_OPTIMIZER_MEMORY_MB),
};

/** What is allowed but probably not meant. */
export function settingsWarnings({ gracePeriodMs, heartbeatTimeoutMs }: GroupSettings): string[] {
  if (gracePeriodMs >= heartbeatTimeoutMs) return [];
  return [
    `gracePeriodMs ${gracePeriodMs} is below heartbeatTimeoutMs ${heartbeatTimeoutMs}: an optimizer may be restarted ` +
      'before anybody can know whether its launch before came to life',
  ];
}

/** Why a group is paused. */
export function reasonInput(value: unknown): string {
  return text(object({ reason: value }, ['reason']), 'reason', REASON);
}

const REASON = new RegExp(`^\\P{Cc}{1,${MAX_REASON_LENGTH}}$`, 'u');

export interface RestartNowInput {
  readonly resourceId: string;
  /** The launch that has no optimizer; when there is a newer one by now, nothing is done. By default the last one. */
  readonly launch?: number;
}

export function restartNowInput(value: unknown): RestartNowInput {
  const input = object(value, ['resourceId', 'launch']);
  return {
    resourceId: text(input, 'resourceId', RESOURCE_NAME),
    ...(input['launch'] !== undefined && { launch: integer(input, 'launch', 1, MAX_ID) }),
  };
}

export interface ForgetInput {
  readonly resourceId: string;
  readonly actor: string;
}

export function forgetInput(value: unknown): ForgetInput {
  const input = object(value, ['resourceId', 'actor']);
  return { resourceId: text(input, 'resourceId', RESOURCE_NAME), actor: actor(input) };
}

function groupName(input: Fields): string {
  return text(input, 'group', OPTIMIZER_GROUP_NAME);
}
