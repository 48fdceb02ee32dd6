import { sql } from 'kysely';
import type { Steward } from '../support/steward.js';

/** A query that waits for a lock in the catalog. */
export interface LockWait {
  /** Name of the process that asked, such as `steward-worker`. */
  readonly program: string;
  readonly query: string;
}

/**
 * What waits for a lock now. Asked outside of any transaction: within one PostgreSQL answers with what ran when it was
 * asked first.
 */
export async function lockWaits(steward: Steward): Promise<LockWait[]> {
  const { rows } = await sql<LockWait>`
    SELECT application_name AS program, query FROM pg_stat_activity
    WHERE wait_event_type = 'Lock' AND datname = current_database()
  `.execute(steward.catalog);
  return rows;
}
