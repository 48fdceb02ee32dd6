import { sql } from 'kysely';
import type { Holder, HolderRef } from '../rules/words.js';
import { anyOf, type Catalog, type CatalogTransaction } from './catalog.js';
import {
  type Claimant,
  type ClaimRefused,
  type ClaimRejected,
  claim,
  epochFor,
  type HolderRow,
  type IsOpen,
  type Judged,
  judgeRows,
  supersededBy,
} from './claims.js';
import { closing } from './closing.js';
import {
  type ClaimGranted,
  type GroupRow,
  granted,
  idsOf,
  idsOfRows,
  isTaken,
  lockGroups,
  replicasByGroup,
  requireAll,
  takeGroups,
} from './group-rows.js';
import { assignFreeSlots } from './partitions.js';

/** Claims region groups for their removal, and marks all their replicas as to be removed. */
export async function claimRemoval(
  catalog: Catalog,
  claimant: Claimant,
  input: { readonly groups?: readonly number[] | undefined; readonly from?: HolderRef | undefined },
  options: { readonly isOpen: IsOpen },
): Promise<(ClaimGranted & { readonly database: string | undefined }) | ClaimRefused | ClaimRejected> {
  return claim(catalog, claimant, input.from, options.isOpen, async (transaction, context) => {
    const { self, predecessor } = context;
    const rows = await lockGroups(transaction, input.groups ?? { heldBy: predecessor?.holder_id ?? -1 });
    if (input.groups !== undefined) {
      requireAll(input.groups, rows);
    }
    const wanted = input.groups === undefined ? rows.filter(({ state }) => state !== 'RUNNING') : rows;
    const judged = await judgeRows(transaction, context, wanted);
    await claimForRemoval(transaction, self, judged);
    const databases = new Set(wanted.map(({ database }) => database));
    const [database] = databases.size === 1 ? databases : [];
    return { ...(await granted(transaction, self, 'REMOVING')), database };
  });
}

export interface RemovalClosing {
  readonly removedGroups: number;
  readonly removedReplicas: number;
  readonly supersededBy?: Holder;
}

/** The closing step of a removal: drops the region groups under its claim that have no replica left (I4). */
export async function closeRemoval(catalog: Catalog, holder: HolderRef): Promise<RemovalClosing> {
  return closing(catalog, holder, async (transaction, self) => {
    const groups = await dropEmptyGroups(transaction, self);
    for (const { database, kind } of distinct(groups)) await assignFreeSlots(transaction, database, kind);
    const by = await supersededBy(transaction, self);
    return {
      removedGroups: groups.length,
      removedReplicas: by === undefined ? self.replicas : 0,
      ...(by && { supersededBy: by }),
    };
  });
}

/** Puts judged region groups under a removal: epoch raised unless the claim goes on, every replica to be removed. */
export async function claimForRemoval(
  transaction: CatalogTransaction,
  self: HolderRow,
  judged: readonly Judged<GroupRow>[],
): Promise<void> {
  const taken = judged.filter(isTaken);
  const continued = judged.filter(({ verdict }) => verdict.kind === 'CONTINUE');
  const epoch = await epochFor(transaction, taken);
  if (epoch !== undefined) {
    await takeGroups(transaction, self, idsOf(taken), { epoch, state: 'REMOVING' });
    await transaction
      .updateTable('replica')
      .set({ state: 'REMOVING', attempt: 1, not_before: null, last_error: null, state_since: sql`now()` })
      .where('group_id', '=', anyOf(idsOf(taken)))
      .execute();
  }
  if (continued.length > 0) await takeGroups(transaction, self, idsOf(continued), {});
}

/** Drops the region groups of a holder that have no replica left, with their partition slots. */
export async function dropEmptyGroups(
  transaction: CatalogTransaction,
  self: HolderRow,
): Promise<{ readonly database: string; readonly kind: 'SCHEMA' | 'DATA' }[]> {
  const held = await lockGroups(transaction, { heldBy: self.holder_id });
  const replicas = await replicasByGroup(transaction, idsOfRows(held));
  const empty = held.filter(({ group_id }) => !replicas.has(group_id));
  const ids = anyOf(idsOfRows(empty));
  await transaction.deleteFrom('partition').where('group_id', '=', ids).execute();
  await transaction.deleteFrom('region_group').where('group_id', '=', ids).execute();
  return empty;
}

function distinct(groups: readonly { readonly database: string; readonly kind: 'SCHEMA' | 'DATA' }[]) {
  return [...new Map(groups.map((group) => [`${group.database}/${group.kind}`, group])).values()];
}
