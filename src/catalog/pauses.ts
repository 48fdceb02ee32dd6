import { sql } from 'kysely';
import type { Catalog } from './catalog.js';

/** An operation that submits nothing new to nodes until it is resumed. */
export interface Pause {
  /** Empty: every operation. */
  readonly operationId: string;
  readonly actor: string;
  readonly reason: string;
  readonly since: Date;
}

const EVERY_OPERATION = '';

/** What pauses the operation, the pause of all before its own; undefined when it goes on. */
export async function pauseOf(catalog: Catalog, operationId: string): Promise<Pause | undefined> {
  return pausesNow(catalog).where('operation_id', 'in', [operationId, EVERY_OPERATION]).executeTakeFirst();
}

/** The pause of all, before those of single operations. */
export async function listPauses(catalog: Catalog): Promise<Pause[]> {
  return pausesNow(catalog).execute();
}

/** Pausing again changes actor and reason, and not since when. */
export async function pauseOperation(catalog: Catalog, pause: Omit<Pause, 'since'>): Promise<void> {
  const { operationId, actor, reason } = pause;
  await catalog
    .insertInto('operation_pause')
    .values({ operation_id: operationId, actor, reason })
    .onConflict((conflict) =>
      conflict.column('operation_id').doUpdateSet({
        actor,
        reason,
        since: sql`CASE WHEN operation_pause.resumed_at IS NULL THEN operation_pause.since ELSE now() END`,
        resumed_by: null,
        resumed_at: null,
      }),
    )
    .execute();
}

/** False: it was not paused. */
export async function resumeOperation(
  catalog: Catalog,
  operationId: string,
  actor: string,
): Promise<boolean> {
  const { numUpdatedRows } = await catalog
    .updateTable('operation_pause')
    .set({ resumed_by: actor, resumed_at: sql<Date>`clock_timestamp()` })
    .where('operation_id', '=', operationId)
    .where('resumed_at', 'is', null)
    .executeTakeFirst();
  return numUpdatedRows > 0n;
}

/** When the operation was last resumed, also as one of all; undefined: it was never paused. */
export async function resumedAt(catalog: Catalog, operationId: string): Promise<Date | undefined> {
  const row = await catalog
    .selectFrom('operation_pause')
    .select((expression) => expression.fn.max('resumed_at').as('resumedAt'))
    .where('operation_id', 'in', [operationId, EVERY_OPERATION])
    .executeTakeFirst();
  return row?.resumedAt ?? undefined;
}

function pausesNow(catalog: Catalog) {
  return catalog
    .selectFrom('operation_pause')
    .select(['operation_id as operationId', 'actor', 'reason', 'since'])
    .where('resumed_at', 'is', null)
    .orderBy('operation_id');
}
