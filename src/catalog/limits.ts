import { sql } from 'kysely';
import type { Catalog } from './catalog.js';

/** Effects of a kind that a node may run at a time; absent: any number. */
export interface NodeLimits {
  readonly deletions?: number;
  readonly creations?: number;
}

/** What stands for every node without a row of its own. */
const EVERY_NODE = '';

/** Of one node: its own, else what stands for every node. */
export async function limitsOf(catalog: Catalog, nodeId: string): Promise<NodeLimits> {
  const row = await catalog
    .selectFrom('node_limit')
    .select(['deletions', 'creations'])
    .where('node_id', 'in', [nodeId, EVERY_NODE])
    .orderBy('node_id', 'desc')
    .limit(1)
    .executeTakeFirst();
  return limitsFrom(row);
}

/** By node id; `''` is for every node that is not in it. */
export async function allLimits(catalog: Catalog): Promise<ReadonlyMap<string, NodeLimits>> {
  const rows = await catalog.selectFrom('node_limit').select(['node_id', 'deletions', 'creations']).execute();
  return new Map(rows.map((row) => [row.node_id, limitsFrom(row)]));
}

/**
 * Sets the limits of a node, or of every node (`undefined`), whose own ones go then. Without limits, a node has what stands
 * for every node. False: there is no such node.
 */
export async function setLimits(
  catalog: Catalog,
  nodeId: string | undefined,
  limits: NodeLimits | undefined,
  actor: string,
): Promise<boolean> {
  return catalog.transaction().execute(async (transaction) => {
    // Two operators at once: one after the other.
    await sql`LOCK TABLE node_limit IN EXCLUSIVE MODE`.execute(transaction);
    if (nodeId === undefined) {
      await transaction.deleteFrom('node_limit').execute();
    } else {
      const known = await transaction
        .selectFrom('node')
        .select('node_id')
        .where('node_id', '=', nodeId)
        .executeTakeFirst();
      if (known === undefined) return false;
      await transaction.deleteFrom('node_limit').where('node_id', '=', nodeId).execute();
    }
    if (limits === undefined) return true;
    const { deletions = null, creations = null } = limits;
    await transaction
      .insertInto('node_limit')
      .values({ node_id: nodeId ?? EVERY_NODE, deletions, creations, actor })
      .execute();
    return true;
  });
}

function limitsFrom(
  row: { readonly deletions: number | null; readonly creations: number | null } | undefined,
): NodeLimits {
  return {
    ...(row?.deletions != null && { deletions: row.deletions }),
    ...(row?.creations != null && { creations: row.creations }),
  };
}
