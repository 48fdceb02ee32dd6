import { sql } from 'kysely';
import type { Differences, ListedReplica } from '../rules/sweep.js';
import type { HolderRef, RegionWorkflow } from '../rules/words.js';
import { anyOf, type Catalog, nextEpoch } from './catalog.js';

/** The highest epoch that the catalog has drawn; 0 before the first one. A node that knows a higher one is ahead of it. */
export async function highestEpochDrawn(catalog: Catalog): Promise<number> {
  const { rows } = await sql<{ drawn: number }>`
    SELECT CASE WHEN is_called THEN last_value ELSE 0 END AS drawn FROM claim_epoch
  `.execute(catalog);
  return rows[0]!.drawn;
}

/** What the catalog has on a node, and which of these region groups are under a claim. */
export async function listedOn(
  catalog: Catalog,
  nodeId: string,
  regionsOnNode: readonly number[],
): Promise<{ readonly replicas: readonly ListedReplica[]; readonly claimed: ReadonlySet<number> }> {
  const replicas = await catalog
    .selectFrom('replica')
    .select(['group_id as groupId', 'state'])
    .where('node_id', '=', nodeId)
    .execute();
  const ids = [...regionsOnNode, ...replicas.map(({ groupId }) => groupId)];
  const claimed = await catalog
    .selectFrom('region_group')
    .select('group_id')
    .where('group_id', '=', anyOf(ids))
    .where('holder_id', 'is not', null)
    .execute();
  return { replicas, claimed: new Set(claimed.map(({ group_id }) => group_id)) };
}

/** Region groups that run with fewer replicas than they should have, whose missing ones nobody is bringing. */
export async function groupsWithoutAllReplicas(catalog: Catalog): Promise<number[]> {
  const { rows } = await sql<{ group_id: number }>`
    SELECT g.group_id FROM region_group g
    WHERE g.state = 'RUNNING' AND g.holder_id IS NULL
      AND g.replication_factor > (SELECT count(*) FROM replica r WHERE r.group_id = g.group_id AND r.state = 'RUNNING')
    ORDER BY g.group_id
  `.execute(catalog);
  return rows.map(({ group_id }) => group_id);
}

export interface Sighting {
  readonly groupId: number;
  readonly kind: 'LEAKED' | 'MISSING';
}

/**
 * Remembers since when node and catalog differ, forgets what differs no longer, and answers what has differed for longer
 * than the grace. A replica that an operator let go of needs no grace.
 */
export async function recordSightings(
  catalog: Catalog,
  nodeId: string,
  differences: Differences,
  gracePeriodMs: number,
): Promise<Sighting[]> {
  const { leaked, missing } = differences;
  return catalog.transaction().execute(async (transaction) => {
    await transaction
      .deleteFrom('sighting')
      .where('node_id', '=', nodeId)
      .where((expression) =>
        expression.not(
          expression.or([
            expression.and([expression('kind', '=', 'LEAKED'), expression('group_id', '=', anyOf(leaked))]),
            expression.and([expression('kind', '=', 'MISSING'), expression('group_id', '=', anyOf(missing))]),
          ]),
        ),
      )
      .execute();
    await sql`
      INSERT INTO sighting (node_id, group_id, kind)
      SELECT ${nodeId}, group_id, 'LEAKED' FROM unnest(${[...leaked]}::bigint[]) AS group_id
      UNION ALL
      SELECT ${nodeId}, group_id, 'MISSING' FROM unnest(${[...missing]}::bigint[]) AS group_id
      ON CONFLICT DO NOTHING
    `.execute(transaction);
    const { rows } = await sql<Sighting>`
      SELECT s.group_id AS "groupId", s.kind FROM sighting s
      WHERE s.node_id = ${nodeId} AND (
        s.first_seen <= now() - make_interval(secs => ${gracePeriodMs / 1000})
        OR EXISTS (SELECT FROM forgotten_replica f WHERE f.node_id = s.node_id AND f.group_id = s.group_id))
      ORDER BY s.group_id
    `.execute(transaction);
    return rows;
  });
}

/** Remembers regions as leaked because somebody named them, without a grace. */
export async function recordLeakedByName(
  catalog: Catalog,
  nodeId: string,
  groupIds: readonly number[],
): Promise<void> {
  await sql`
    INSERT INTO sighting (node_id, group_id, kind)
    SELECT ${nodeId}, group_id, 'LEAKED' FROM unnest(${[...groupIds]}::bigint[]) AS group_id
    ON CONFLICT DO NOTHING
  `.execute(catalog);
}

/** Leaked regions of a node whose deletion was begun and is not known to have ended. */
export async function openRepairs(catalog: Catalog, nodeId: string): Promise<number[]> {
  const rows = await catalog
    .selectFrom('sighting')
    .select('group_id')
    .where('node_id', '=', nodeId)
    .where('repair_epoch', 'is not', null)
    .execute();
  return rows.map(({ group_id }) => group_id);
}

/** Drops the records of replicas that were let go of on a node that has nothing of them any more. */
export async function dropGoneForgotten(
  catalog: Catalog,
  nodeId: string,
  regionsOnNode: readonly number[],
): Promise<void> {
  await catalog
    .deleteFrom('forgotten_replica')
    .where('node_id', '=', nodeId)
    .where('group_id', '<>', sql<number>`ALL (${[...regionsOnNode]}::bigint[])`)
    .execute();
}

/** The deletion of one leaked region: what its operation id is made of. */
export interface LeakRepair {
  readonly groupId: number;
  readonly epoch: number;
  readonly attempt: number;
}

/**
 * Claims leaked regions for their deletion: verifies each again under the lock of its region group, and draws an epoch for
 * it, once. Whatever is placed there later is fenced off from this deletion by its higher epoch (I9).
 */
export async function claimLeaks(
  catalog: Catalog,
  nodeId: string,
  groupIds: readonly number[],
): Promise<LeakRepair[]> {
  return catalog.transaction().execute(async (transaction) => {
    const groups = await transaction
      .selectFrom('region_group')
      .select(['group_id', 'holder_id'])
      .where('group_id', '=', anyOf(groupIds))
      .orderBy('group_id')
      .forUpdate()
      .execute();
    const listed = await transaction
      .selectFrom('replica')
      .select('group_id')
      .where('node_id', '=', nodeId)
      .where('group_id', '=', anyOf(groupIds))
      .execute();
    const spared = new Set([
      ...groups.filter(({ holder_id }) => holder_id !== null).map(({ group_id }) => group_id),
      ...listed.map(({ group_id }) => group_id),
    ]);
    const leaked = groupIds.filter((id) => !spared.has(id));
    if (leaked.length === 0) return [];
    const epoch = await nextEpoch(transaction);
    const rows = await transaction
      .updateTable('sighting')
      .set({ repair_epoch: sql<number>`coalesce(repair_epoch, ${epoch})` })
      .where('node_id', '=', nodeId)
      .where('group_id', '=', anyOf(leaked))
      .where('kind', '=', 'LEAKED')
      .returning(['group_id', 'repair_epoch', 'attempt'])
      .execute();
    return rows.map(({ group_id, repair_epoch, attempt }) => ({
      groupId: group_id,
      epoch: repair_epoch!,
      attempt,
    }));
  });
}

/** The node said that leaked regions are gone: sighting and record of the letting go leave. */
export async function recordLeaksRemoved(
  catalog: Catalog,
  nodeId: string,
  groupIds: readonly number[],
): Promise<void> {
  await catalog.transaction().execute(async (transaction) => {
    for (const table of ['sighting', 'forgotten_replica'] as const) {
      await transaction
        .deleteFrom(table)
        .where('node_id', '=', nodeId)
        .where('group_id', '=', anyOf(groupIds))
        .execute();
    }
  });
}

/** The node said FAIL: the next sweep submits a new attempt (I3). */
export async function raiseLeakAttempts(
  catalog: Catalog,
  nodeId: string,
  failed: readonly LeakRepair[],
): Promise<void> {
  for (const { groupId, attempt } of failed) {
    await catalog
      .updateTable('sighting')
      .set({ attempt: attempt + 1 })
      .where('node_id', '=', nodeId)
      .where('group_id', '=', groupId)
      .where('attempt', '=', attempt)
      .execute();
  }
}

/** A database's running region groups that lack replicas. */
export interface MissingReplicas {
  readonly database: string;
  readonly groups: readonly number[];
}

/**
 * Takes replicas that their nodes have lost out of RUNNING, each verified again under the lock of its region group, and
 * answers, by database, the region groups for which missing replicas are to be recreated.
 */
export async function claimMissing(
  catalog: Catalog,
  lost: readonly { readonly nodeId: string; readonly groupId: number }[],
): Promise<MissingReplicas[]> {
  return catalog.transaction().execute(async (transaction) => {
    const groups = await transaction
      .selectFrom('region_group')
      .select(['group_id', 'database'])
      .where('group_id', '=', anyOf(lost.map(({ groupId }) => groupId)))
      .where('holder_id', 'is', null)
      .where('state', '=', 'RUNNING')
      .orderBy('group_id')
      .forUpdate()
      .execute();
    const free = new Set(groups.map(({ group_id }) => group_id));
    for (const { nodeId, groupId } of lost) {
      if (!free.has(groupId)) continue;
      await transaction
        .updateTable('replica')
        .set({
          state: 'UNKNOWN',
          last_error: 'the sweep did not find it on its node',
          state_since: sql`now()`,
        })
        .where('group_id', '=', groupId)
        .where('node_id', '=', nodeId)
        .where('state', '=', 'RUNNING')
        .execute();
    }
    const byDatabase = new Map<string, number[]>();
    for (const { group_id, database } of groups) {
      byDatabase.set(database, [...(byDatabase.get(database) ?? []), group_id]);
    }
    return [...byDatabase].map(([database, ids]) => ({ database, groups: ids }));
  });
}

/** A holder that still holds something. */
export interface StandingHolder extends HolderRef {
  readonly workflowType: RegionWorkflow;
  readonly actor: string;
  readonly input: unknown;
}

/** Everybody who holds a region group or a database, oldest first. */
export async function standingHolders(catalog: Catalog): Promise<StandingHolder[]> {
  const { rows } = await sql<StandingHolder>`
    SELECT h.workflow_id AS "workflowId", h.first_run_id AS "firstRunId", h.workflow_type AS "workflowType", h.actor,
      h.input
    FROM holder h
    WHERE EXISTS (SELECT FROM region_group g WHERE g.holder_id = h.holder_id)
      OR EXISTS (SELECT FROM database d WHERE d.holder_id = h.holder_id)
    ORDER BY h.holder_id
  `.execute(catalog);
  return rows;
}

/** Drops what is kept of holders that ended long ago and hold nothing. */
export async function pruneHolders(catalog: Catalog, keptMs: number): Promise<void> {
  await sql`
    DELETE FROM holder h
    WHERE h.ended_at < now() - make_interval(secs => ${keptMs / 1000})
      AND NOT EXISTS (SELECT FROM region_group g WHERE g.holder_id = h.holder_id)
      AND NOT EXISTS (SELECT FROM database d WHERE d.holder_id = h.holder_id)
  `.execute(catalog);
}
