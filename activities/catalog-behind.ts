import type { Catalog } from '../src/catalog/catalog.js';
import { highestEpochDrawn } from '../src/catalog/sightings.js';
import { NodeMismatch } from '../src/engines/nodes.js';
import type { RegionOnNode } from '../src/engines/regions.js';

/**
 * A node that knows a higher epoch than the catalog has drawn is ahead of it: what the catalog does not list there may be
 * wanted all the same, so nothing is deleted.
 *
 * @throws NodeMismatch (CATALOG_BEHIND)
 */
export async function requireNotBehind(
  catalog: Catalog,
  nodeId: string,
  regions: readonly RegionOnNode[],
): Promise<void> {
  const highest = regions.reduce((most, { epoch }) => Math.max(most, epoch), 0);
  const drawn = await highestEpochDrawn(catalog);
  if (highest > drawn)
    throw catalogBehind(
      `${nodeId} knows epoch ${highest} and the catalog has drawn no higher one than ${drawn}`,
    );
}

export function catalogBehind(evidence: string): NodeMismatch {
  return new NodeMismatch(
    `CATALOG_BEHIND: ${evidence}: the catalog was restored to an older point, and what it does not list may be wanted all ` +
      'the same',
  );
}
