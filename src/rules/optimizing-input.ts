import { MAX_ID, TABLE_NAME } from './bounds.js';
import {
  actor,
  DAY_MS,
  type Fields,
  InvalidInput,
  integer,
  object,
  oneOf,
  type RepairMode,
  text,
} from './input.js';
import { DEFAULT_GRACES, type Graces } from './stuck.js';
import type { OptimizingKind } from './words.js';

/** Guards for the inputs of the optimizing workflows; see `input.ts`. */

export interface HealStuckCommitsInput {
  /** `observe` reports and changes nothing. */
  readonly mode: RepairMode;
  /** Only this table. */
  readonly table?: string;
  readonly graces: Graces;
  readonly actor: string;
}

export interface PlanOptimizingInput {
  /** This table, at once and whatever its thresholds; absent: every table that is due. */
  readonly table?: string;
  /** How much of that table; absent: as its thresholds say, FULL when they ask for nothing. */
  readonly kind?: OptimizingKind;
  readonly actor: string;
}

export interface CommitTableInput {
  readonly table: string;
  /** Id of the process. */
  readonly process: number;
  readonly actor: string;
}

export interface SweepTablesInput {
  /** Only this table. */
  readonly table?: string;
  /** Files that no snapshot lists are left alone while they are younger. Milliseconds. */
  readonly gracePeriodMs: number;
  readonly actor: string;
}

export function healStuckCommitsInput(value: unknown): HealStuckCommitsInput {
  const input = object(value ?? {}, ['mode', 'table', 'graces', 'actor']);
  return {
    mode: input['mode'] === undefined ? 'repair' : oneOf(input, 'mode', ['observe', 'repair']),
    ...tableOf(input),
    graces: graces(input['graces']),
    actor: actor(input),
  };
}

export function planOptimizingInput(value: unknown): PlanOptimizingInput {
  const input = object(value ?? {}, ['table', 'kind', 'actor']);
  if (input['kind'] !== undefined && input['table'] === undefined) {
    throw new InvalidInput('kind', 'give the table of which it is meant');
  }
  return {
    ...tableOf(input),
    ...(input['kind'] !== undefined && { kind: oneOf(input, 'kind', ['MINOR', 'MAJOR', 'FULL']) }),
    actor: actor(input),
  };
}

export function commitTableInput(value: unknown): CommitTableInput {
  const input = object(value, ['table', 'process', 'actor']);
  return {
    table: text(input, 'table', TABLE_NAME),
    process: integer(input, 'process', 1, MAX_ID),
    actor: actor(input),
  };
}

/** A file is written before its snapshot is: an ingestion or a merge is given a day for that. */
const DEFAULT_FILE_GRACE_MS = DAY_MS;

export function sweepTablesInput(value: unknown): SweepTablesInput {
  const input = object(value ?? {}, ['table', 'gracePeriodMs', 'actor']);
  return {
    ...tableOf(input),
    gracePeriodMs:
      input['gracePeriodMs'] === undefined
        ? DEFAULT_FILE_GRACE_MS
        : integer(input, 'gracePeriodMs', 0, 30 * DAY_MS),
    actor: actor(input),
  };
}

function tableOf(input: Fields): { readonly table?: string } {
  return input['table'] === undefined ? {} : { table: text(input, 'table', TABLE_NAME) };
}

function graces(value: unknown): Graces {
  const keys = Object.keys(DEFAULT_GRACES) as (keyof Graces)[];
  const given = object(value ?? {}, keys);
  const set = keys
    .filter((key) => given[key] !== undefined)
    .map((key) => [key, integer(given, key, 0, DAY_MS)] as const);
  return { ...DEFAULT_GRACES, ...Object.fromEntries(set) };
}
