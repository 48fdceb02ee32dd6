import {
  ACTOR_NAME,
  DATABASE_NAME,
  inWords,
  MAX_GROUPS_PER_REMOVAL,
  MAX_GROUPS_PER_REQUEST,
  MAX_ID,
  MAX_LEGACY_ENTRIES,
  MAX_REPLICATION_FACTOR,
  REQUEST_NAME,
} from './bounds.js';
import type { HolderRef, RegionKind } from './words.js';

/**
 * Guards for workflow inputs: synchronous and without dependency, so that they run in the first line of a workflow.
 * They throw {@link InvalidInput}, which names the field (I10). An input that passed holds only fields that are known.
 */
export class InvalidInput extends Error {
  override readonly name = 'InvalidInput';
  constructor(
    readonly field: string,
    problem: string,
  ) {
    super(`${field}: ${problem}`);
  }
}

export interface CreateRegionGroupsInput {
  readonly database: string;
  readonly kind: RegionKind;
  readonly groups: number;
  readonly replicationFactor: number;
  /** Names this request: asking twice with one name allocates once. */
  readonly request: string;
  readonly actor: string;
}

export interface RecreateMissingReplicasInput {
  readonly database: string;
  /** Region groups whose replicas are missing; absent when `from` says it. */
  readonly groups?: readonly number[];
  /** The predecessor whose claim on incomplete region groups is taken on. */
  readonly from?: HolderRef;
  readonly actor: string;
}

export interface RemoveRegionGroupsInput {
  readonly groups?: readonly number[];
  /** The predecessor whose claim on region groups without quorum is taken on. */
  readonly from?: HolderRef;
  readonly actor: string;
}

export interface DeleteDatabaseInput {
  readonly database: string;
  readonly actor: string;
}

export type RepairMode = 'observe' | 'repair';

export interface SweepReplicasInput {
  /** `observe` reports and changes no node; both drive on claims whose workflow is gone. */
  readonly mode: RepairMode;
  /** What differs for a shorter time is not reported. Milliseconds. */
  readonly gracePeriodMs: number;
  readonly actor: string;
}

/** Who acted when a workflow was started without saying it, for example by `temporal workflow start`. */
export const UNKNOWN_ACTOR = 'unknown';

export function createRegionGroupsInput(value: unknown): CreateRegionGroupsInput {
  const input = object(value, ['database', 'kind', 'groups', 'replicationFactor', 'request', 'actor']);
  return {
    database: text(input, 'database', DATABASE_NAME),
    kind: oneOf(input, 'kind', ['SCHEMA', 'DATA']),
    groups: integer(input, 'groups', 1, MAX_GROUPS_PER_REQUEST),
    replicationFactor: integer(input, 'replicationFactor', 1, MAX_REPLICATION_FACTOR),
    request: text(input, 'request', REQUEST_NAME),
    actor: actor(input),
  };
}

export function recreateMissingReplicasInput(value: unknown): RecreateMissingReplicasInput {
  const input = object(value, ['database', 'groups', 'from', 'actor']);
  return {
    database: text(input, 'database', DATABASE_NAME),
    ...groupsOrPredecessor(input),
    actor: actor(input),
  };
}

export function removeRegionGroupsInput(value: unknown): RemoveRegionGroupsInput {
  const input = object(value, ['groups', 'from', 'actor']);
  return { ...groupsOrPredecessor(input), actor: actor(input) };
}

export function deleteDatabaseInput(value: unknown): DeleteDatabaseInput {
  const input = object(value, ['database', 'actor']);
  return { database: text(input, 'database', DATABASE_NAME), actor: actor(input) };
}

export interface DrainLegacyQueueInput {
  /** The queue's entries as they stand in the file; what is no task is accounted for as such. */
  readonly entries: readonly unknown[];
  readonly actor: string;
}

export function drainLegacyQueueInput(value: unknown): DrainLegacyQueueInput {
  const input = object(value, ['entries', 'actor']);
  const { entries } = input;
  if (!Array.isArray(entries) || entries.length === 0 || entries.length > MAX_LEGACY_ENTRIES) {
    throw new InvalidInput('entries', `expected 1 to ${MAX_LEGACY_ENTRIES} entries, got ${shown(entries)}`);
  }
  return { entries, actor: actor(input) };
}

export const DEFAULT_GRACE_PERIOD_MS = 300_000;
export const DAY_MS = 86_400_000;

export function sweepReplicasInput(value: unknown): SweepReplicasInput {
  const input = object(value ?? {}, ['mode', 'gracePeriodMs', 'actor']);
  return {
    mode: input['mode'] === undefined ? 'observe' : oneOf(input, 'mode', ['observe', 'repair']),
    gracePeriodMs:
      input['gracePeriodMs'] === undefined
        ? DEFAULT_GRACE_PERIOD_MS
        : integer(input, 'gracePeriodMs', 0, DAY_MS),
    actor: actor(input),
  };
}

export type Fields = Record<string, unknown>;

export function object(value: unknown, known: readonly string[]): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new InvalidInput('input', `expected one object, got ${shown(value)}`);
  }
  for (const field of Object.keys(value)) {
    if (!known.includes(field)) throw new InvalidInput(field, `unknown field; known are ${known.join(', ')}`);
  }
  return value as Fields;
}

export function text(input: Fields, field: string, pattern: RegExp): string {
  const value = input[field];
  if (typeof value !== 'string' || !pattern.test(value)) {
    throw new InvalidInput(field, `expected ${inWords(pattern)}, got ${shown(value)}`);
  }
  return value;
}

export function integer(input: Fields, field: string, least: number, most: number): number {
  const value = input[field];
  if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > most) {
    throw new InvalidInput(field, `expected a whole number from ${least} to ${most}, got ${shown(value)}`);
  }
  return value;
}

export function oneOf<const T extends string>(input: Fields, field: string, allowed: readonly T[]): T {
  const value = input[field];
  const found = allowed.find((candidate) => candidate === value);
  if (found === undefined) {
    throw new InvalidInput(field, `expected one of ${allowed.join(', ')}, got ${shown(value)}`);
  }
  return found;
}

export function actor(input: Fields): string {
  return input['actor'] === undefined ? UNKNOWN_ACTOR : text(input, 'actor', ACTOR_NAME);
}

function groupsOrPredecessor(input: Fields): { groups: readonly number[] } | { from: HolderRef } {
  const { groups, from } = input;
  if ((groups === undefined) === (from === undefined)) {
    throw new InvalidInput('groups', 'give either groups or from');
  }
  if (from !== undefined) {
    const predecessor = object(from, ['workflowId', 'firstRunId']);
    return {
      from: {
        workflowId: text(predecessor, 'workflowId', ACTOR_NAME),
        firstRunId: text(predecessor, 'firstRunId', ACTOR_NAME),
      },
    };
  }
  if (!Array.isArray(groups) || groups.length === 0 || groups.length > MAX_GROUPS_PER_REMOVAL) {
    throw new InvalidInput(
      'groups',
      `expected 1 to ${MAX_GROUPS_PER_REMOVAL} region group ids, got ${shown(groups)}`,
    );
  }
  const ids = groups.map((_, index) => integer(groups as unknown as Fields, String(index), 1, MAX_ID));
  return { groups: [...new Set(ids)] };
}

function shown(value: unknown): string {
  const json = JSON.stringify(value) ?? String(value);
  return json.length > 80 ? `${json.slice(0, 77)}...` : json;
}
