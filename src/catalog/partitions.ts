import { sql } from 'kysely';
import { PARTITION_SLOTS } from '../rules/bounds.js';
import type { RegionKind } from '../rules/words.js';
import type { Catalog, CatalogTransaction } from './catalog.js';

/** Gives the partition slots that belong to no region group to the running ones of the database, evenly. */
export async function assignFreeSlots(
  transaction: CatalogTransaction,
  database: string,
  kind: RegionKind,
): Promise<void> {
  await sql`
    WITH running AS (
      SELECT group_id, row_number() OVER (ORDER BY count(p.slot), g.group_id) - 1 AS position, count(*) OVER () AS groups
      FROM region_group g LEFT JOIN partition p USING (group_id)
      WHERE g.database = ${database} AND g.kind = ${kind} AND g.state = 'RUNNING'
      GROUP BY group_id
    ), free AS (
      SELECT slot, row_number() OVER (ORDER BY slot) - 1 AS position
      FROM generate_series(0, ${PARTITION_SLOTS - 1}::int) AS slot
      WHERE NOT EXISTS (
        SELECT FROM partition p WHERE p.database = ${database} AND p.kind = ${kind} AND p.slot = slot.slot
      )
    )
    INSERT INTO partition (database, kind, slot, group_id)
    SELECT ${database}, ${kind}, free.slot, running.group_id
    FROM free JOIN running ON running.position = free.position % running.groups
    ON CONFLICT DO NOTHING
  `.execute(transaction);
}

/**
 * Assigns the partition slots that a creation left free which released its region groups and lost its workflow before its
 * closing step: nobody holds anything of the database, so that no claim tells of it (I8).
 */
export async function assignAbandonedSlots(catalog: Catalog): Promise<void> {
  const { rows } = await sql<{ database: string; kind: RegionKind }>`
    SELECT DISTINCT g.database, g.kind
    FROM region_group g
    WHERE g.state = 'RUNNING'
      AND NOT EXISTS (SELECT FROM region_group held WHERE held.database = g.database AND held.holder_id IS NOT NULL)
      AND (SELECT count(*) FROM partition p WHERE p.database = g.database AND p.kind = g.kind) < ${PARTITION_SLOTS}
  `.execute(catalog);
  for (const { database, kind } of rows) {
    await catalog.transaction().execute((transaction) => assignFreeSlots(transaction, database, kind));
  }
}
