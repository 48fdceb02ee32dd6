import { sql } from 'kysely';
import type { HolderRef } from '../rules/words.js';
import type { Catalog, CatalogTransaction } from './catalog.js';
import { findHolder, type HolderRow } from './claims.js';

/** Runs a closing step once: its answer is kept with the holder and given again to whoever asks again. */
export async function closing<T>(
  catalog: Catalog,
  ref: HolderRef,
  step: (transaction: CatalogTransaction, self: HolderRow) => Promise<T>,
): Promise<T> {
  return catalog.transaction().execute(async (transaction) => {
    const self = await findHolder(transaction, ref);
    if (self === undefined)
      throw new Error(
        `CATALOG_BEHIND: the catalog does not know ${ref.workflowId}: it was restored to an older point`,
      );
    if (self.ended_at !== null) return self.outcome as T;
    const outcome = await step(transaction, self);
    if (await endHolder(transaction, self, outcome)) return outcome;
    // Somebody closed it while the step waited for the rows: what he answered stands.
    return (await findHolder(transaction, ref))!.outcome as T;
  });
}

export async function endHolder(
  transaction: CatalogTransaction,
  self: HolderRow,
  outcome: unknown,
): Promise<boolean> {
  const { numUpdatedRows } = await transaction
    .updateTable('holder')
    .set({ ended_at: sql<Date>`now()`, outcome: JSON.stringify(outcome) })
    .where('holder_id', '=', self.holder_id)
    .where('ended_at', 'is', null)
    .executeTakeFirst();
  return numUpdatedRows > 0n;
}
