import { sql } from 'kysely';
import type { Candidate } from '../rules/placement.js';
import type { Catalog, CatalogTransaction } from './catalog.js';

/** A node as an engine driver needs it to speak to it. */
export interface NodeAddress {
  readonly nodeId: string;
  readonly ledgerId: string;
  readonly address: string;
}

export interface NodeStatus extends NodeAddress {
  readonly incarnation: number;
  readonly capabilities: readonly string[];
  readonly alive: boolean;
  /** Milliseconds since its last heartbeat, by the catalog's clock. */
  readonly silentMs: number;
  readonly replicas: number;
}

export interface Registration {
  readonly nodeId: string;
  readonly ledgerId: string;
  readonly bootId: string;
  readonly address: string;
  readonly capabilities: readonly string[];
  /** Task groups that it runs at a time; absent: any number. */
  readonly maxTaskGroups?: number | undefined;
}

export type RegistrationVerdict =
  | { readonly kind: 'REGISTERED'; readonly incarnation: number }
  /** Known with another ledger, and the catalog still has replicas on it (an empty disk, or another machine). */
  | { readonly kind: 'OTHER_LEDGER'; readonly expectedLedgerId: string; readonly replicas: number };

/** Makes a node known. A new process, or one that was away for longer than the time-out, is a new incarnation. */
export async function registerNode(
  catalog: Catalog,
  registration: Registration,
  nodeTimeoutMs: number,
): Promise<RegistrationVerdict> {
  const { nodeId, ledgerId, bootId, address } = registration;
  const row = {
    ledger_id: ledgerId,
    boot_id: bootId,
    address,
    capabilities: [...registration.capabilities],
    max_task_groups: registration.maxTaskGroups ?? null,
  };
  return catalog.transaction().execute(async (transaction) => {
    const created = await transaction
      .insertInto('node')
      .values({ node_id: nodeId, incarnation: 1, ...row })
      .onConflict((conflict) => conflict.column('node_id').doNothing())
      .returning('incarnation')
      .executeTakeFirst();
    if (created !== undefined) return { kind: 'REGISTERED', incarnation: created.incarnation };

    const known = await transaction
      .selectFrom('node')
      .select(['ledger_id', 'boot_id', 'incarnation', isAlive(nodeTimeoutMs).as('alive')])
      .where('node_id', '=', nodeId)
      .forUpdate()
      .executeTakeFirstOrThrow();
    if (known.ledger_id !== ledgerId) {
      const { replicas } = await transaction
        .selectFrom('replica')
        .select(sql<number>`count(*)`.as('replicas'))
        .where('node_id', '=', nodeId)
        .executeTakeFirstOrThrow();
      if (replicas > 0) return { kind: 'OTHER_LEDGER', expectedLedgerId: known.ledger_id, replicas };
    }
    const incarnation = known.boot_id === bootId && known.alive ? known.incarnation : known.incarnation + 1;
    await transaction
      .updateTable('node')
      .set({ ...row, incarnation, registered_at: sql`now()`, last_heartbeat: sql`now()` })
      .where('node_id', '=', nodeId)
      .execute();
    return { kind: 'REGISTERED', incarnation };
  });
}

/** False: the node is not registered like this, and must register again. */
export async function recordHeartbeat(
  catalog: Catalog,
  heartbeat: { readonly nodeId: string; readonly ledgerId: string; readonly incarnation: number },
  nodeTimeoutMs: number,
): Promise<boolean> {
  const { numUpdatedRows } = await catalog
    .updateTable('node')
    .set({ last_heartbeat: sql`now()` })
    .where('node_id', '=', heartbeat.nodeId)
    .where('ledger_id', '=', heartbeat.ledgerId)
    .where('incarnation', '=', heartbeat.incarnation)
    .where(isAlive(nodeTimeoutMs))
    .executeTakeFirst();
  return numUpdatedRows > 0n;
}

export async function findNode(catalog: Catalog, nodeId: string): Promise<NodeAddress | undefined> {
  return catalog
    .selectFrom('node')
    .select(['node_id as nodeId', 'ledger_id as ledgerId', 'address'])
    .where('node_id', '=', nodeId)
    .executeTakeFirst();
}

export async function listNodes(catalog: Catalog, nodeTimeoutMs: number): Promise<NodeStatus[]> {
  return catalog
    .selectFrom('node')
    .select((expression) => [
      'node_id as nodeId',
      'ledger_id as ledgerId',
      'address',
      'incarnation',
      'capabilities',
      isAlive(nodeTimeoutMs).as('alive'),
      sql<number>`greatest(0, extract(epoch FROM now() - last_heartbeat) * 1000)::bigint`.as('silentMs'),
      expression
        .selectFrom('replica')
        .whereRef('replica.node_id', '=', 'node.node_id')
        .select(sql<number>`count(*)`.as('count'))
        .$asScalar()
        .$notNull()
        .as('replicas'),
    ])
    .orderBy('node_id')
    .execute();
}

/** Live nodes that can hold regions, and how many replicas each has. */
export async function placementCandidates(
  transaction: CatalogTransaction,
  nodeTimeoutMs: number,
): Promise<Candidate[]> {
  return transaction
    .selectFrom('node')
    .leftJoin('replica', 'replica.node_id', 'node.node_id')
    .select(['node.node_id as nodeId', sql<number>`count(replica.group_id)`.as('replicas')])
    .where(isAlive(nodeTimeoutMs))
    .where(sql<boolean>`'regions' = ANY (node.capabilities)`)
    .groupBy('node.node_id')
    .execute();
}

/** Readers compare the last heartbeat with the database's clock, so that no two clocks are compared. */
export function isAlive(nodeTimeoutMs: number) {
  return sql<boolean>`node.last_heartbeat > now() - make_interval(secs => ${nodeTimeoutMs / 1000})`;
}
