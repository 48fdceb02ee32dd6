import { sql } from 'kysely';
import { placeMissing } from '../rules/placement.js';
import type { Holder, HolderRef } from '../rules/words.js';
import { anyOf, type Catalog, type CatalogTransaction, nextEpoch } from './catalog.js';
import {
  type Claimant,
  type ClaimContext,
  type ClaimRefused,
  type ClaimRejected,
  claim,
  findHolder,
  type HolderRow,
  type IsOpen,
  judgeRows,
  reject,
  supersededBy,
} from './claims.js';
import { closing, endHolder } from './closing.js';
import {
  type ClaimGranted,
  type GroupRow,
  granted,
  idsOf,
  idsOfRows,
  isTaken,
  lockGroups,
  replicasByGroup,
  requireActive,
  requireAll,
  takeGroups,
} from './group-rows.js';
import { placementCandidates } from './nodes.js';

/**
 * One round of a recreation: claims region groups that lack replicas, raises their epoch, and places what is missing on
 * live nodes that have none yet. Region groups that lack nothing are released. Asking twice for one round changes nothing.
 */
export async function claimRecreation(
  catalog: Catalog,
  claimant: Claimant,
  input: {
    readonly database: string;
    readonly groups?: readonly number[] | undefined;
    readonly from?: HolderRef | undefined;
  },
  options: {
    /** Names the round; another name than the last one raises the epoch. */ readonly round: string;
    readonly nodeTimeoutMs: number;
    readonly isOpen: IsOpen;
  },
): Promise<(ClaimGranted & { readonly unplaced: number }) | ClaimRefused | ClaimRejected> {
  return claim(catalog, claimant, input.from, options.isOpen, async (transaction, context) => {
    const { self } = context;
    const first = self.round === '';
    if (first) {
      if (await endsWithPredecessor(transaction, context, input.database))
        return { ...(await granted(transaction, self, 'CREATING')), unplaced: 0 };
      await requireActive(transaction, input.database);
    }
    if (self.round !== options.round) {
      const rows = await lockGroups(
        transaction,
        first
          ? (input.groups ?? { heldBy: context.predecessor?.holder_id ?? -1 })
          : { heldBy: self.holder_id },
      );
      if (first) requireRunning(input, rows);
      // A claim handed over holds region groups without quorum as well; those are the removal's.
      const wanted = rows.filter(({ state }) => state === 'RUNNING');
      const judged = await judgeRows(transaction, context, wanted);
      const raised = first ? judged.filter(isTaken) : judged;
      if (raised.length > 0) {
        await takeGroups(transaction, self, idsOf(raised), { epoch: await nextEpoch(transaction) });
        await reopenReplicas(transaction, idsOf(raised));
        await placeMissingReplicas(
          transaction,
          raised.map(({ row }) => row),
          options.nodeTimeoutMs,
        );
      }
      const continued = judged.filter((one) => !raised.includes(one));
      if (continued.length > 0) await takeGroups(transaction, self, idsOf(continued), {});
      await transaction
        .updateTable('holder')
        .set({ round: options.round })
        .where('holder_id', '=', self.holder_id)
        .execute();
    }
    await releaseComplete(transaction, self);
    return {
      ...(await granted(transaction, self, 'CREATING')),
      unplaced: await countUnplaced(transaction, self),
    };
  });
}

/**
 * Whether everything that was to be handed over has been taken from the predecessor by somebody else: then there is nothing
 * left to do, and who superseded the predecessor has superseded this one too (I5).
 */
async function endsWithPredecessor(
  transaction: CatalogTransaction,
  { self, predecessor }: ClaimContext,
  database: string,
): Promise<boolean> {
  if (predecessor === undefined) return false;
  // Whoever is taking over the database has its row: what he did is to be seen here.
  await transaction.selectFrom('database').select('name').where('name', '=', database).forShare().execute();
  const { rows } = await sql<{ superseded_by: number }>`
    SELECT superseded_by FROM holder h
    WHERE h.holder_id = ${predecessor.holder_id} AND h.superseded_by IS NOT NULL
      AND NOT EXISTS (SELECT FROM region_group g WHERE g.holder_id = h.holder_id)
  `.execute(transaction);
  const [over] = rows;
  if (over === undefined) return false;
  await transaction
    .updateTable('holder')
    .set({ superseded_by: over.superseded_by })
    .where('holder_id', '=', self.holder_id)
    .execute();
  return true;
}

/** How a recreation ended; closes it. */
export async function closeRecreation(
  catalog: Catalog,
  holder: HolderRef,
): Promise<{ readonly supersededBy?: Holder }> {
  return closing(catalog, holder, async (transaction, self) => {
    const by = await supersededBy(transaction, self);
    return by === undefined ? {} : { supersededBy: by };
  });
}

/** Lets go of everything that a recreation holds; the replicas stay missing. */
export async function releaseRecreation(catalog: Catalog, holder: HolderRef): Promise<void> {
  await catalog.transaction().execute(async (transaction) => {
    const self = await findHolder(transaction, holder);
    if (self === undefined) return;
    const rows = await lockGroups(transaction, { heldBy: self.holder_id });
    await transaction
      .updateTable('replica')
      .set({ state: 'UNKNOWN', state_since: sql`now()` })
      .where('group_id', 'in', [-1, ...rows.map(({ group_id }) => group_id)])
      .where('state', '=', 'CREATING')
      .execute();
    await transaction
      .updateTable('region_group')
      .set({ holder_id: null })
      .where('holder_id', '=', self.holder_id)
      .execute();
    await endHolder(transaction, self, null);
  });
}

/** Under a new epoch, what is not running is asked for again, with attempts counted from 1. */
async function reopenReplicas(transaction: CatalogTransaction, ids: readonly number[]): Promise<void> {
  await transaction
    .updateTable('replica')
    .set({ state: 'CREATING', attempt: 1, not_before: null, last_error: null, state_since: sql`now()` })
    .where('group_id', '=', anyOf(ids))
    .where('state', 'in', ['CREATING', 'FAILED', 'UNKNOWN'])
    .execute();
}

/** Places what the region groups lack on live nodes that have none of it yet, as far as there are such nodes. */
async function placeMissingReplicas(
  transaction: CatalogTransaction,
  groups: readonly GroupRow[],
  nodeTimeoutMs: number,
): Promise<void> {
  const replicas = await replicasByGroup(transaction, idsOfRows(groups));
  const load = new Map(
    (await placementCandidates(transaction, nodeTimeoutMs)).map(({ nodeId, replicas: count }) => [
      nodeId,
      count,
    ]),
  );
  for (const group of groups) {
    const taken = (replicas.get(group.group_id) ?? []).map(({ nodeId }) => nodeId);
    const chosen = placeMissing(load, taken, group.replication_factor - taken.length);
    await transaction
      .updateTable('region_group')
      .set({ peers: [...taken, ...chosen].sort() })
      .where('group_id', '=', group.group_id)
      .execute();
    if (chosen.length === 0) continue;
    await transaction
      .insertInto('replica')
      .values(chosen.map((node_id) => ({ group_id: group.group_id, node_id, state: 'CREATING' as const })))
      .execute();
    await transaction
      .deleteFrom('forgotten_replica')
      .where('group_id', '=', group.group_id)
      .where('node_id', 'in', chosen)
      .execute();
  }
}

/** Replicas that the holder's region groups lack and for which no node was found. */
async function countUnplaced(transaction: CatalogTransaction, self: HolderRow): Promise<number> {
  const { rows } = await sql<{ unplaced: number }>`
    SELECT coalesce(sum(g.replication_factor - (SELECT count(*) FROM replica r WHERE r.group_id = g.group_id)), 0)::int
      AS unplaced
    FROM region_group g WHERE g.holder_id = ${self.holder_id}
  `.execute(transaction);
  return rows[0]!.unplaced;
}

async function releaseComplete(transaction: CatalogTransaction, self: HolderRow): Promise<void> {
  await sql`
    UPDATE region_group g SET holder_id = NULL
    WHERE g.holder_id = ${self.holder_id}
      AND g.replication_factor <= (
        SELECT count(*) FROM replica r WHERE r.group_id = g.group_id AND r.state = 'RUNNING'
      )
  `.execute(transaction);
}

function requireRunning(
  input: { readonly database: string; readonly groups?: readonly number[] | undefined },
  rows: readonly GroupRow[],
): void {
  if (input.groups === undefined) return;
  requireAll(
    input.groups,
    rows.filter(({ database }) => database === input.database),
  );
  const other = rows.find(({ state }) => state !== 'RUNNING');
  if (other === undefined) return;
  reject(
    'REGION_GROUP_REMOVING',
    `region group ${other.group_id} is ${other.state}: only a RUNNING one gets its missing replicas back`,
  );
}
