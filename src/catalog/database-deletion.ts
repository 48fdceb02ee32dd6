import { sql } from 'kysely';
import type { Holder, HolderRef } from '../rules/words.js';
import { type Catalog, nextEpoch } from './catalog.js';
import {
  type Claimant,
  type ClaimRefused,
  type ClaimRejected,
  claim,
  type IsOpen,
  judgeRows,
  reject,
  supersededBy,
} from './claims.js';
import { closing } from './closing.js';
import { type ClaimGranted, granted, lockGroups } from './group-rows.js';
import { claimForRemoval, dropEmptyGroups } from './removal.js';

/**
 * Claims a database and all its region groups for their deletion, in one transaction: from here on no region group can be
 * added, and creations, recreations and removals in flight are superseded.
 */
export async function claimDatabaseDeletion(
  catalog: Catalog,
  claimant: Claimant,
  database: string,
  options: { readonly isOpen: IsOpen },
): Promise<ClaimGranted | ClaimRefused | ClaimRejected> {
  return claim(catalog, claimant, undefined, options.isOpen, async (transaction, context) => {
    const { self } = context;
    const row = await transaction
      .selectFrom('database')
      .selectAll()
      .where('name', '=', database)
      .forNoKeyUpdate()
      .executeTakeFirst();
    if (row === undefined) reject('DATABASE_NOT_FOUND', `database ${database} does not exist`);
    const [judged] = await judgeRows(transaction, context, [{ ...row, resource: `database ${database}` }]);
    if (judged!.verdict.kind !== 'HELD_BY_SELF') {
      await transaction
        .updateTable('database')
        .set({
          state: 'DELETING',
          holder_id: self.holder_id,
          ...(judged!.verdict.kind === 'TAKE' && { epoch: await nextEpoch(transaction) }),
        })
        .where('name', '=', database)
        .execute();
    }
    const groups = await lockGroups(transaction, { database });
    await claimForRemoval(transaction, self, await judgeRows(transaction, context, groups));
    return granted(transaction, self, 'REMOVING');
  });
}

export interface DatabaseDeletionClosing {
  readonly removedGroups: number;
  readonly removedReplicas: number;
  readonly supersededBy?: Holder;
}

/** The closing step of a database deletion: drops region groups, partition table and database once no replica is left. */
export async function closeDatabaseDeletion(
  catalog: Catalog,
  holder: HolderRef,
  database: string,
): Promise<DatabaseDeletionClosing> {
  return closing(catalog, holder, async (transaction, self) => {
    const row = await transaction
      .selectFrom('database')
      .select('holder_id')
      .where('name', '=', database)
      .forUpdate()
      .executeTakeFirst();
    const groups = await dropEmptyGroups(transaction, self);
    if (row?.holder_id === self.holder_id) {
      const { left } = await transaction
        .selectFrom('region_group')
        .select(sql<number>`count(*)`.as('left'))
        .where('database', '=', database)
        .executeTakeFirstOrThrow();
      if (left > 0) throw new Error(`database ${database} still has ${left} region groups: not dropped`);
      await transaction.deleteFrom('partition').where('database', '=', database).execute();
      await transaction.deleteFrom('database').where('name', '=', database).execute();
    }
    const by = await supersededBy(transaction, self);
    return {
      removedGroups: groups.length,
      removedReplicas: self.replicas,
      ...(by && { supersededBy: by }),
    };
  });
}
