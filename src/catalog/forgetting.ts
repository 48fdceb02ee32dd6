import { sql } from 'kysely';
import type { Catalog } from './catalog.js';
import { isAlive } from './nodes.js';

export type ForgetVerdict =
  | { readonly kind: 'FORGOTTEN' }
  | { readonly kind: 'NO_REPLICA' }
  /** The node lives: it can answer for itself. */
  | { readonly kind: 'NODE_ALIVE'; readonly silentMs: number };

/**
 * Lets go of a replica whose node is away for good: the operator's word alone. The one way for a row to leave the catalog
 * without the node's confirmation (I4); it leaves a record from which the sweep deletes the region if the node returns.
 */
export async function forgetReplica(
  catalog: Catalog,
  which: { readonly groupId: number; readonly nodeId: string; readonly actor: string },
  options: { readonly nodeTimeoutMs: number; readonly dryRun?: boolean },
): Promise<ForgetVerdict> {
  return catalog.transaction().execute(async (transaction) => {
    const group = await transaction
      .selectFrom('region_group')
      .select(['database', 'kind', 'epoch'])
      .where('group_id', '=', which.groupId)
      .forNoKeyUpdate()
      .executeTakeFirst();
    const node = await transaction
      .selectFrom('replica')
      .innerJoin('node', 'node.node_id', 'replica.node_id')
      .select([
        'node.ledger_id as ledgerId',
        isAlive(options.nodeTimeoutMs).as('alive'),
        sql<number>`(extract(epoch FROM now() - node.last_heartbeat) * 1000)::bigint`.as('silentMs'),
      ])
      .where('replica.group_id', '=', which.groupId)
      .where('replica.node_id', '=', which.nodeId)
      .executeTakeFirst();
    if (group === undefined || node === undefined) return { kind: 'NO_REPLICA' };
    if (node.alive) return { kind: 'NODE_ALIVE', silentMs: node.silentMs };
    if (options.dryRun) return { kind: 'FORGOTTEN' };
    const record = {
      database: group.database,
      kind: group.kind,
      ledger_id: node.ledgerId,
      epoch: group.epoch,
      actor: which.actor,
    };
    await transaction
      .insertInto('forgotten_replica')
      .values({ group_id: which.groupId, node_id: which.nodeId, ...record })
      .onConflict((conflict) => conflict.columns(['group_id', 'node_id']).doUpdateSet(record))
      .execute();
    await transaction
      .deleteFrom('replica')
      .where('group_id', '=', which.groupId)
      .where('node_id', '=', which.nodeId)
      .execute();
    return { kind: 'FORGOTTEN' };
  });
}
