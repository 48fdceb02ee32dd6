import { sql } from 'kysely';
import { PARTITION_SLOTS } from '../rules/bounds.js';
import type { RegionKind } from '../rules/words.js';
import type { CatalogTransaction } from './catalog.js';

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
