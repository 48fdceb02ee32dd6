import type { Check } from './check.js';
import { BACK_PRESSURE } from './checks/back-pressure.js';
import { BATCHES } from './checks/batches.js';
import { CANCEL } from './checks/cancel.js';
import { DUPLICATES } from './checks/duplicates.js';
import { EPOCHS } from './checks/epochs.js';
import { FAILURES } from './checks/failures.js';
import { IDENTITY } from './checks/identity.js';
import { INVENTORY } from './checks/inventory.js';
import { MALFORMED } from './checks/malformed.js';
import { PROGRESS } from './checks/progress.js';
import { REGIONS } from './checks/regions.js';
import { RESTARTS } from './checks/restart.js';
import { RETENTION } from './checks/retention.js';
import { SUBMIT } from './checks/submit.js';
import { WIRE } from './checks/wire.js';

/** Every check, group by group. A new verb of the contract adds a group that needs its capability. */
export const CHECKS: readonly Check[] = [
  ...IDENTITY,
  ...SUBMIT,
  ...DUPLICATES,
  ...FAILURES,
  ...REGIONS,
  ...EPOCHS,
  ...BATCHES,
  ...MALFORMED,
  ...WIRE,
  ...INVENTORY,
  ...CANCEL,
  ...PROGRESS,
  ...BACK_PRESSURE,
  ...RETENTION,
  ...RESTARTS,
];

/** A name that is neither of a check nor of a group. */
export class UnknownCheck extends Error {
  override readonly name = 'UnknownCheck';

  constructor(readonly asked: string) {
    super(`${asked}: there is no check and no group of this name; see them with: steward conformance --list`);
  }
}

/** The checks that names of checks and groups mean, in the order of the registry. Throws UnknownCheck. */
export function checksNamed(names: readonly string[], checks: readonly Check[] = CHECKS): readonly Check[] {
  const means = (name: string, check: Check): boolean => check.name === name || check.group === name;
  for (const name of names) {
    if (!checks.some((check) => means(name, check))) throw new UnknownCheck(name);
  }
  return checks.filter((check) => names.some((name) => means(name, check)));
}
