import { sql } from 'kysely';
import { quorum } from '../rules/quorum.js';
import type { RegionKind } from '../rules/words.js';
import { anyOf, type Catalog, type CatalogTransaction } from './catalog.js';
import type { ReplicaState } from './schema.js';

/** A replica that its holder has open on a node, as the reconciling activity works on it. */
export interface OpenReplica {
  readonly groupId: number;
  /** Epoch of the claim that was read with it; every move of the row compares it. */
  readonly epoch: number;
  readonly attempt: number;
  readonly database: string;
  readonly kind: RegionKind;
  /** Nodes of all replicas of the region group. */
  readonly peers: readonly string[];
  /** Not to be submitted for this long. */
  readonly waitMs: number;
  /** What the attempt before ended with; empty for the first one. */
  readonly lastError: string;
}

/** Names a row to move, and what was read of it. */
export type ReadReplica = Pick<OpenReplica, 'groupId' | 'epoch' | 'attempt'>;

/** What a holder has open on a node in a state, in group-id order after `after`. */
export async function openReplicas(
  catalog: Catalog,
  which: {
    readonly holderId: number;
    readonly nodeId: string;
    readonly state: ReplicaState;
    readonly after: number;
    readonly limit: number;
  },
): Promise<OpenReplica[]> {
  const { rows } = await sql<OpenReplica>`
    SELECT g.group_id AS "groupId", g.epoch, r.attempt, g.database, g.kind, g.peers,
      coalesce(r.last_error, '') AS "lastError",
      greatest(0, extract(epoch FROM coalesce(r.not_before, now()) - now()) * 1000)::bigint AS "waitMs"
    FROM region_group g JOIN replica r USING (group_id)
    WHERE g.holder_id = ${which.holderId} AND r.node_id = ${which.nodeId} AND r.state = ${which.state}
      AND g.group_id > ${which.after}
    ORDER BY g.group_id
    LIMIT ${which.limit}
  `.execute(catalog);
  return rows;
}

/** The node said that these regions are gone: their rows leave the catalog (I4). Answers how many did. */
export async function recordRemoved(
  catalog: Catalog,
  holderId: number,
  nodeId: string,
  replicas: readonly ReadReplica[],
): Promise<number> {
  return moving(catalog, holderId, replicas, 'SHARE', async (transaction, ids) => {
    const { numDeletedRows } = await transaction
      .deleteFrom('replica')
      .where('node_id', '=', nodeId)
      .where('group_id', '=', anyOf(ids))
      .where('state', '=', 'REMOVING')
      .executeTakeFirst();
    return Number(numDeletedRows);
  });
}

/**
 * The node said that these regions exist: the replicas run. A region group is RUNNING as soon as that makes its quorum;
 * it is released as soon as it lacks nothing. Answers how many replicas were recorded.
 */
export async function recordCreated(
  catalog: Catalog,
  holderId: number,
  nodeId: string,
  replicas: readonly ReadReplica[],
): Promise<number> {
  return moving(catalog, holderId, replicas, 'UPDATE', async (transaction, ids) => {
    const { numUpdatedRows } = await transaction
      .updateTable('replica')
      .set({ state: 'RUNNING', last_error: null, state_since: sql`now()` })
      .where('node_id', '=', nodeId)
      .where('group_id', '=', anyOf(ids))
      .where('state', '=', 'CREATING')
      .executeTakeFirst();
    const counted = await transaction
      .selectFrom('region_group')
      .innerJoin('replica', 'replica.group_id', 'region_group.group_id')
      .select([
        'region_group.group_id as groupId',
        'database',
        'kind',
        'region_group.state',
        'replication_factor as replicationFactor',
        sql<number>`count(*) FILTER (WHERE replica.state = 'RUNNING')`.as('running'),
      ])
      .where('region_group.group_id', '=', anyOf(ids))
      .groupBy('region_group.group_id')
      .execute();
    const started = counted.filter(
      ({ state, running, replicationFactor }) =>
        state === 'PROVISIONING' && running >= quorum(replicationFactor),
    );
    const complete = counted.filter(({ running, replicationFactor }) => running >= replicationFactor);
    await transaction
      .updateTable('region_group')
      .set({ state: 'RUNNING' })
      .where('group_id', '=', anyOf(started.map(({ groupId }) => groupId)))
      .execute();
    await transaction
      .updateTable('region_group')
      .set({ holder_id: null })
      .where('group_id', '=', anyOf(complete.map(({ groupId }) => groupId)))
      .execute();
    return Number(numUpdatedRows);
  });
}

/** A creation that asks once: the node said FAIL, or did not answer in time (`UNKNOWN`). */
export async function recordUncreated(
  catalog: Catalog,
  holderId: number,
  nodeId: string,
  replicas: readonly (ReadReplica & { readonly error: string })[],
  state: 'FAILED' | 'UNKNOWN',
): Promise<number> {
  return moving(catalog, holderId, replicas, 'SHARE', async (transaction, ids) => {
    const moved = replicas.filter(({ groupId }) => ids.includes(groupId));
    const { numAffectedRows } = await sql`
      UPDATE replica r SET state = ${state}, last_error = given.error, state_since = now()
      FROM unnest(${moved.map(({ groupId }) => groupId)}::bigint[], ${moved.map(({ error }) => error)}::text[])
        AS given (group_id, error)
      WHERE r.group_id = given.group_id AND r.node_id = ${nodeId} AND r.state = 'CREATING'
    `.execute(transaction);
    return Number(numAffectedRows ?? 0);
  });
}

/**
 * The node said FAIL: a new attempt, by compare-and-set on the attempt that was seen to fail (I3). Answers how many were
 * raised.
 */
export async function raiseAttempts(
  catalog: Catalog,
  holderId: number,
  nodeId: string,
  replicas: readonly (ReadReplica & { readonly error: string; readonly waitMs: number })[],
): Promise<number> {
  return moving(catalog, holderId, replicas, 'SHARE', async (transaction, ids) => {
    const moved = replicas.filter(({ groupId }) => ids.includes(groupId));
    const { numAffectedRows } = await sql`
      UPDATE replica r
      SET attempt = given.attempt + 1, last_error = given.error,
        not_before = now() + make_interval(secs => given.wait_ms / 1000.0)
      FROM unnest(
        ${moved.map(({ groupId }) => groupId)}::bigint[], ${moved.map(({ attempt }) => attempt)}::int[],
        ${moved.map(({ error }) => error)}::text[], ${moved.map(({ waitMs }) => waitMs)}::int[]
      ) AS given (group_id, attempt, error, wait_ms)
      WHERE r.group_id = given.group_id AND r.node_id = ${nodeId} AND r.attempt = given.attempt
    `.execute(transaction);
    return Number(numAffectedRows ?? 0);
  });
}

/**
 * Moves rows in one transaction that first locks the claim rows in group-id order and compares holder and epoch: what was
 * taken over since it was read is left alone (I5). Moves that count replicas of a region group lock it for UPDATE, so that
 * two nodes' moves do not both miss the quorum.
 */
async function moving(
  catalog: Catalog,
  holderId: number,
  replicas: readonly ReadReplica[],
  lock: 'SHARE' | 'UPDATE',
  move: (transaction: CatalogTransaction, groupIds: number[]) => Promise<number>,
): Promise<number> {
  if (replicas.length === 0) return 0;
  return catalog.transaction().execute(async (transaction) => {
    const { rows } = await sql<{ group_id: number }>`
      SELECT g.group_id
      FROM region_group g JOIN unnest(
        ${replicas.map(({ groupId }) => groupId)}::bigint[], ${replicas.map(({ epoch }) => epoch)}::bigint[]
      ) AS read (group_id, epoch) ON g.group_id = read.group_id
      WHERE g.holder_id = ${holderId} AND g.epoch = read.epoch
      ORDER BY g.group_id
      ${lock === 'SHARE' ? sql`FOR SHARE OF g` : sql`FOR NO KEY UPDATE OF g`}
    `.execute(transaction);
    const ids = rows.map(({ group_id }) => group_id);
    return ids.length === 0 ? 0 : move(transaction, ids);
  });
}
