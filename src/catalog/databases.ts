import { sql } from 'kysely';
import type { Holder } from '../rules/words.js';
import type { Catalog } from './catalog.js';
import { holdersById } from './claims.js';
import type { DatabaseState } from './schema.js';

export interface DatabaseStatus {
  readonly name: string;
  readonly state: DatabaseState;
  readonly createdBy: string;
  readonly createdAt: Date;
  readonly schemaRegionGroups: number;
  readonly dataRegionGroups: number;
  readonly runningRegionGroups: number;
  readonly replicas: number;
  readonly runningReplicas: number;
  readonly partitionSlots: number;
  readonly holder?: Holder;
}

/** Makes a database, ACTIVE and empty; answers the state it was found in when it exists. */
export async function createDatabase(
  catalog: Catalog,
  name: string,
  actor: string,
): Promise<'CREATED' | DatabaseState> {
  const created = await catalog
    .insertInto('database')
    .values({ name, state: 'ACTIVE', created_by: actor, epoch: 0, holder_id: null })
    .onConflict((conflict) => conflict.column('name').doNothing())
    .returning('name')
    .executeTakeFirst();
  if (created !== undefined) return 'CREATED';
  const found = await catalog
    .selectFrom('database')
    .select('state')
    .where('name', '=', name)
    .executeTakeFirst();
  return found?.state ?? createDatabase(catalog, name, actor);
}

/** All databases, or the one of that name, in the order of names. */
export async function listDatabases(catalog: Catalog, name?: string): Promise<DatabaseStatus[]> {
  const { rows } = await sql<Omit<DatabaseStatus, 'holder'> & { holderId: number | null }>`
    SELECT d.name, d.state, d.created_by AS "createdBy", d.created_at AS "createdAt", d.holder_id AS "holderId",
      coalesce(g.schema_groups, 0)::int AS "schemaRegionGroups", coalesce(g.data_groups, 0)::int AS "dataRegionGroups",
      coalesce(g.running_groups, 0)::int AS "runningRegionGroups",
      coalesce(r.replicas, 0)::int AS replicas, coalesce(r.running, 0)::int AS "runningReplicas",
      (SELECT count(*)::int FROM partition p WHERE p.database = d.name) AS "partitionSlots"
    FROM database d
    LEFT JOIN (
      SELECT database, count(*) FILTER (WHERE kind = 'SCHEMA') AS schema_groups,
        count(*) FILTER (WHERE kind = 'DATA') AS data_groups, count(*) FILTER (WHERE state = 'RUNNING') AS running_groups
      FROM region_group GROUP BY database
    ) g ON g.database = d.name
    LEFT JOIN (
      SELECT database, count(*) AS replicas, count(*) FILTER (WHERE replica.state = 'RUNNING') AS running
      FROM region_group JOIN replica USING (group_id) GROUP BY database
    ) r ON r.database = d.name
    WHERE ${name ?? null}::text IS NULL OR d.name = ${name ?? null}
    ORDER BY d.name
  `.execute(catalog);
  const holders = await holdersById(
    catalog,
    rows.map(({ holderId }) => holderId),
  );
  return rows.map(({ holderId, ...database }) => {
    const holder = holderId === null ? undefined : holders.get(holderId);
    return { ...database, ...(holder && { holder }) };
  });
}
