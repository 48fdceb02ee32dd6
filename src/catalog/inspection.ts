import { sql } from 'kysely';
import { placeGroups } from '../rules/placement.js';
import type { Holder, RegionKind } from '../rules/words.js';
import type { Catalog } from './catalog.js';
import { describeHolder, holdersById, supersededBy } from './claims.js';
import type { NodeWork } from './group-rows.js';
import { placementCandidates } from './nodes.js';
import type { RegionGroupState, ReplicaState } from './schema.js';

/** What people are shown of the catalog. Reads only. */

export interface RegionGroupStatus {
  readonly groupId: number;
  readonly database: string;
  readonly kind: RegionKind;
  readonly replicationFactor: number;
  readonly state: RegionGroupState;
  readonly epoch: number;
  readonly createdAt: Date;
  readonly partitionSlots: number;
  readonly replicas: readonly ReplicaStatus[];
  readonly holder?: Holder;
}

export interface ReplicaStatus {
  readonly nodeId: string;
  readonly state: ReplicaState;
  readonly attempt: number;
  readonly lastError: string;
}

export interface RegionGroupFilter {
  readonly groupId?: number;
  readonly database?: string;
  readonly incompleteOnly?: boolean;
  readonly after?: number;
  readonly limit: number;
}

/** Region groups with their replicas, in id order. */
export async function listRegionGroups(
  catalog: Catalog,
  filter: RegionGroupFilter,
): Promise<RegionGroupStatus[]> {
  const { rows } = await sql<Omit<RegionGroupStatus, 'holder'> & { holderId: number | null }>`
    SELECT g.group_id AS "groupId", g.database, g.kind, g.replication_factor AS "replicationFactor", g.state, g.epoch,
      g.created_at AS "createdAt", g.holder_id AS "holderId",
      (SELECT count(*)::int FROM partition p WHERE p.group_id = g.group_id) AS "partitionSlots",
      coalesce((
        SELECT jsonb_agg(jsonb_build_object('nodeId', r.node_id, 'state', r.state, 'attempt', r.attempt,
          'lastError', coalesce(r.last_error, '')) ORDER BY r.node_id)
        FROM replica r WHERE r.group_id = g.group_id
      ), '[]') AS replicas
    FROM region_group g
    WHERE g.group_id > ${filter.after ?? 0}
      AND (${filter.groupId ?? null}::bigint IS NULL OR g.group_id = ${filter.groupId ?? null})
      AND (${filter.database ?? null}::text IS NULL OR g.database = ${filter.database ?? null})
      AND (NOT ${filter.incompleteOnly ?? false}::boolean OR g.state <> 'RUNNING' OR g.replication_factor > (
        SELECT count(*) FROM replica r WHERE r.group_id = g.group_id AND r.state = 'RUNNING'))
    ORDER BY g.group_id
    LIMIT ${filter.limit}
  `.execute(catalog);
  const holders = await holdersById(
    catalog,
    rows.map(({ holderId }) => holderId),
  );
  return rows.map(({ holderId, ...group }) => {
    const holder = holderId === null ? undefined : holders.get(holderId);
    return { ...group, ...(holder && { holder }) };
  });
}

export interface HolderProgress {
  readonly holder: Holder;
  readonly replicas: number;
  readonly open: readonly NodeWork[];
  readonly endedAt?: Date;
  readonly supersededBy?: Holder;
}

/** What a workflow holds and how much of it is open; undefined when it never claimed anything. */
export async function holderProgress(
  catalog: Catalog,
  workflowId: string,
  firstRunId?: string,
): Promise<HolderProgress | undefined> {
  let query = catalog.selectFrom('holder').selectAll().where('workflow_id', '=', workflowId);
  if (firstRunId !== undefined) query = query.where('first_run_id', '=', firstRunId);
  const row = await query.orderBy('holder_id', 'desc').limit(1).executeTakeFirst();
  if (row === undefined) return undefined;
  const open = await catalog
    .selectFrom('replica')
    .innerJoin('region_group', 'region_group.group_id', 'replica.group_id')
    .select(['replica.node_id as nodeId', sql<number>`count(*)`.as('replicas')])
    .where('region_group.holder_id', '=', row.holder_id)
    .where('replica.state', 'in', ['CREATING', 'REMOVING'])
    .groupBy('replica.node_id')
    .orderBy('replica.node_id')
    .execute();
  const by = await supersededBy(catalog, row);
  return {
    holder: describeHolder(row),
    replicas: row.replicas,
    open,
    ...(row.ended_at && { endedAt: row.ended_at }),
    ...(by && { supersededBy: by }),
  };
}

/** Where region groups would be placed now; undefined when there are too few live nodes (`live` says how many). */
export async function planRegionGroups(
  catalog: Catalog,
  groups: number,
  replicationFactor: number,
  nodeTimeoutMs: number,
): Promise<{ readonly live: number; readonly placements?: readonly (readonly string[])[] }> {
  return catalog.transaction().execute(async (transaction) => {
    const candidates = await placementCandidates(transaction, nodeTimeoutMs);
    const placements = placeGroups(candidates, groups, replicationFactor);
    return { live: candidates.length, ...(placements && { placements }) };
  });
}
