import { sql } from 'kysely';
import { anyOf, type Catalog, nextEpoch } from './catalog.js';

/** Added when a sequence is lifted, so that what others draw between the look and the lift is not drawn twice. */
const MARGIN = 1_000;
/** Nodes cannot be asked which processes their optimizers were handed: far more than can have been lost are skipped. */
const SKIPPED_PROCESSES = 1_000_000;

export interface Lifted {
  /** The highest that had been drawn. */
  readonly was: number;
  /** The highest that counts as drawn now; the same when nothing had to be done. */
  readonly is: number;
}

/** Makes every epoch that is drawn from now on higher than `known`, and so higher than what any node fences with (I9). */
export function liftEpochs(catalog: Catalog, known: number): Promise<Lifted> {
  return lift(catalog, 'claim_epoch', known);
}

/** Makes ids of region groups that are given from now on higher than `known`: none meets a region of a lost one. */
export function liftRegionGroupIds(catalog: Catalog, known: number): Promise<Lifted> {
  return lift(catalog, 'region_group_group_id_seq', known);
}

/** Skips process ids: outputs on disk and results in outboxes of lost processes keep their names to themselves. */
export async function skipProcessIds(catalog: Catalog): Promise<Lifted> {
  const sequence = 'optimizing_process_process_id_seq';
  const was = await drawn(catalog, sequence);
  return lift(catalog, sequence, was + SKIPPED_PROCESSES);
}

/**
 * Gives a new epoch to the region groups among these that are claimed: the claim goes on, and its operations are no longer
 * stale. Those that nobody holds get theirs with the next claim. Answers the ids of the former.
 */
export async function renewClaims(catalog: Catalog, groupIds: readonly number[]): Promise<number[]> {
  return catalog.transaction().execute(async (transaction) => {
    const held = await transaction
      .selectFrom('region_group')
      .select('group_id')
      .where('group_id', '=', anyOf(groupIds))
      .where('holder_id', 'is not', null)
      .orderBy('group_id')
      .forUpdate()
      .execute();
    if (held.length === 0) return [];
    const ids = held.map(({ group_id }) => group_id);
    await transaction
      .updateTable('region_group')
      .set({ epoch: await nextEpoch(transaction) })
      .where('group_id', '=', anyOf(ids))
      .execute();
    return ids;
  });
}

/** Epochs of region groups, by id; of those that the catalog has. */
export async function epochsOfGroups(
  catalog: Catalog,
  groupIds: readonly number[],
): Promise<ReadonlyMap<number, number>> {
  const rows = await catalog
    .selectFrom('region_group')
    .select(['group_id', 'epoch'])
    .where('group_id', '=', anyOf(groupIds))
    .execute();
  return new Map(rows.map(({ group_id, epoch }) => [group_id, epoch]));
}

/** Lifts the launch of an optimizer's place to what its node knows; false when it is not behind, or not there. */
export async function liftLaunch(catalog: Catalog, resourceId: string, launch: number): Promise<boolean> {
  const { numUpdatedRows } = await catalog
    .updateTable('optimizer_resource')
    .set({ epoch: launch })
    .where('resource_id', '=', resourceId)
    .where('epoch', '<', launch)
    .executeTakeFirst();
  return numUpdatedRows > 0n;
}

/** Of these jobs, the ones that are not over and whose execution is lower than what a node fences them with. */
export async function jobsBehind(catalog: Catalog, known: ReadonlyMap<string, number>): Promise<string[]> {
  const rows = await catalog
    .selectFrom('job')
    .select(['job_id', 'execution'])
    .where('job_id', '=', sql<string>`ANY (${[...known.keys()]}::text[])`)
    .where('ended_at', 'is', null)
    .orderBy('job_id')
    .execute();
  return rows.filter(({ job_id, execution }) => execution < known.get(job_id)!).map(({ job_id }) => job_id);
}

/** Jobs that are not over. */
export async function openJobs(catalog: Catalog): Promise<string[]> {
  const rows = await catalog
    .selectFrom('job')
    .select('job_id')
    .where('ended_at', 'is', null)
    .orderBy('job_id')
    .execute();
  return rows.map(({ job_id }) => job_id);
}

type Sequence = 'claim_epoch' | 'region_group_group_id_seq' | 'optimizing_process_process_id_seq';

async function lift(catalog: Catalog, sequence: Sequence, known: number): Promise<Lifted> {
  const was = await drawn(catalog, sequence);
  if (was >= known) return { was, is: was };
  const is = known + MARGIN;
  await sql`SELECT setval(${sequence}, ${is})`.execute(catalog);
  return { was, is };
}

async function drawn(catalog: Catalog, sequence: Sequence): Promise<number> {
  const { rows } = await sql<{ drawn: number }>`
    SELECT CASE WHEN is_called THEN last_value ELSE 0 END AS drawn FROM ${sql.table(sequence)}
  `.execute(catalog);
  return rows[0]!.drawn;
}
