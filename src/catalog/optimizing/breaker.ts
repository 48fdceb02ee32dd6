import { sql } from 'kysely';
import { type BreakerState, judgeBreaker } from '../../rules/stuck.js';
import type { Catalog } from '../catalog.js';

/** The breaker of the heals, as people are told of it. */
export interface Breaker {
  readonly state: BreakerState;
  /** Why it is OPEN or was; empty when it never opened. */
  readonly reason: string;
  readonly since: Date | undefined;
  readonly acknowledgedBy: string | undefined;
}

const NAME = 'heal';
const NEVER: Breaker = { state: 'CLOSED', reason: '', since: undefined, acknowledgedBy: undefined };

export async function readBreaker(catalog: Catalog): Promise<Breaker> {
  const row = await catalog
    .selectFrom('breaker')
    .select(['state', 'reason', 'since', 'acknowledged_by as acknowledgedBy'])
    .where('name', '=', NAME)
    .executeTakeFirst();
  return row === undefined ? NEVER : { ...row, acknowledgedBy: row.acknowledgedBy ?? undefined };
}

/** Moves the breaker on by what was counted; heals that run at once agree, because each moves only what it read. */
export async function moveBreaker(
  catalog: Catalog,
  counts: { readonly stuck: number; readonly running: number },
): Promise<Breaker> {
  for (;;) {
    const found = await readBreaker(catalog);
    const next = judgeBreaker(found.state, counts);
    if (next === found.state) return found;
    const reason =
      next === 'OPEN'
        ? `${counts.stuck} of ${counts.running} running processes were stuck at once`
        : found.reason;
    const { rows } = await sql`
      INSERT INTO breaker AS b (name, state, reason) VALUES (${NAME}, ${next}, ${reason})
      ON CONFLICT (name) DO UPDATE SET state = ${next}, reason = ${reason}, since = now(), acknowledged_by = NULL
      WHERE b.state = ${found.state}
      RETURNING name
    `.execute(catalog);
    if (rows.length > 0) return readBreaker(catalog);
  }
}

/** Lets heals go on. False: it is not OPEN, and nothing changed. */
export async function acknowledgeBreaker(catalog: Catalog, actor: string): Promise<boolean> {
  const { numUpdatedRows } = await catalog
    .updateTable('breaker')
    .set({ state: 'ACKNOWLEDGED', acknowledged_by: actor, since: sql<Date>`now()` })
    .where('name', '=', NAME)
    .where('state', '=', 'OPEN')
    .executeTakeFirst();
  return numUpdatedRows > 0n;
}
