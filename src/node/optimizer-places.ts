import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Place } from '../optimizer/place.js';
import { REQUEST_NAME, UUID } from '../rules/bounds.js';
import { resourcePath } from '../rules/operation-id.js';
import type { ResourceKey } from './operation.js';

/** The places of all optimizer resources of a node: `<data>/resources/<catalog id>/<resource id>/`. */
export class OptimizerPlaces {
  readonly directory: string;

  constructor(data: string) {
    this.directory = join(data, 'resources');
  }

  of({ catalogId, resourceId }: ResourceKey): Place {
    return new Place(join(this.directory, catalogId, resourceId));
  }

  /** Every resource of which anything is left, in the order of (catalog id, resource id). */
  list(): ResourceKey[] {
    return names(this.directory, UUID).flatMap((catalogId) =>
      names(join(this.directory, catalogId), REQUEST_NAME).map((resourceId) => ({ catalogId, resourceId })),
    );
  }
}

/** The resource that a path such as `<catalog id>/<resource id>` names; undefined for anything else. */
export function parseResource(path: string): ResourceKey | undefined {
  const [catalogId = '', resourceId = '', ...rest] = path.split('/');
  const key = { catalogId, resourceId };
  return rest.length === 0 && isResourceKey(key) ? key : undefined;
}

/** Whether it names a resource, and no other place of the disk. */
export function isResourceKey({ catalogId, resourceId }: ResourceKey): boolean {
  return UUID.test(catalogId) && REQUEST_NAME.test(resourceId);
}

export function compareResources(a: ResourceKey, b: ResourceKey): number {
  const [left, right] = [resourcePath(a), resourcePath(b)];
  return left < right ? -1 : left > right ? 1 : 0;
}

function names(directory: string, pattern: RegExp): string[] {
  try {
    return readdirSync(directory)
      .filter((name) => pattern.test(name))
      .sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
