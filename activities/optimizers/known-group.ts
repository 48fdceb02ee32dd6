import type { ApplicationFailure } from '@temporalio/common';
import type { Catalog } from '../../src/catalog/catalog.js';
import { findGroup, type KeptGroup } from '../../src/catalog/optimizers/keeping.js';
import { rejected } from '../rejected.js';

/** Fails for good (GROUP_NOT_FOUND) when there is no group of that name. */
export async function requireGroup(catalog: Catalog, name: string): Promise<KeptGroup> {
  const group = await findGroup(catalog, name);
  if (group === undefined) throw unknownGroup(name);
  return group;
}

export function unknownGroup(name: string): ApplicationFailure {
  return rejected('GROUP_NOT_FOUND', `optimizer group ${name} does not exist`);
}
