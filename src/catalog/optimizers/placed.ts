import { sql } from 'kysely';
import type { PlacedResource } from '../../rules/sweep.js';
import type { Catalog } from '../catalog.js';

/** Where the catalog has these resources; those that it does not know are left out. */
export async function placedResources(
  catalog: Catalog,
  resourceIds: readonly string[],
): Promise<ReadonlyMap<string, PlacedResource>> {
  const rows = await catalog
    .selectFrom('optimizer_resource')
    .select(['resource_id as resourceId', 'node_id as nodeId', 'epoch'])
    .where('resource_id', '=', sql<string>`ANY (${[...resourceIds]}::text[])`)
    .execute();
  return new Map(rows.map((row) => [row.resourceId, row]));
}

/** Whether the node said that it can start optimizers. */
export async function canStartOptimizers(catalog: Catalog, nodeId: string): Promise<boolean> {
  const node = await catalog
    .selectFrom('node')
    .select('node_id')
    .where('node_id', '=', nodeId)
    .where(sql<boolean>`'resources' = ANY (capabilities)`)
    .executeTakeFirst();
  return node !== undefined;
}
