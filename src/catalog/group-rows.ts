import { type Selectable, sql } from 'kysely';
import { anyOf, type CatalogTransaction } from './catalog.js';
import {
  type ClaimRefused,
  type ClaimRejected,
  type HolderRow,
  type Judged,
  refuse,
  reject,
} from './claims.js';
import type { CatalogTables, ReplicaState } from './schema.js';

/** How many replicas the holder still has open on a node. */
export interface NodeWork {
  readonly nodeId: string;
  readonly replicas: number;
}

/** A claim that is granted: what is to be done, by node. Empty when nothing is open. */
export interface ClaimGranted {
  readonly kind: 'GRANTED';
  readonly nodes: readonly NodeWork[];
  /** Region groups under this claim. */
  readonly groups: number;
}

export type ClaimAnswer = ClaimGranted | ClaimRefused | ClaimRejected;

export type GroupRow = Selectable<CatalogTables['region_group']> & { readonly resource: string };

/** Locks region groups for a claim, in id order: by id, or all that a holder holds. */
export async function lockGroups(
  transaction: CatalogTransaction,
  which: readonly number[] | { readonly heldBy: number } | { readonly database: string },
): Promise<GroupRow[]> {
  const query = transaction.selectFrom('region_group').selectAll().orderBy('group_id').forUpdate();
  const rows = await (isIds(which)
    ? query.where('group_id', '=', anyOf(which))
    : 'heldBy' in which
      ? query.where('holder_id', '=', which.heldBy)
      : query.where('database', '=', which.database)
  ).execute();
  return rows.map((row) => ({ ...row, resource: `region group ${row.group_id}` }));
}

export async function takeGroups(
  transaction: CatalogTransaction,
  self: HolderRow,
  ids: readonly number[],
  change: { readonly epoch?: number; readonly state?: 'REMOVING' },
): Promise<void> {
  await transaction
    .updateTable('region_group')
    .set({ holder_id: self.holder_id, ...change })
    .where('group_id', '=', anyOf(ids))
    .execute();
}

/** What the holder has open, by node; also remembers the total, against which progress is measured. */
export async function granted(
  transaction: CatalogTransaction,
  self: HolderRow,
  state: ReplicaState,
): Promise<ClaimGranted> {
  const nodes = await transaction
    .selectFrom('replica')
    .innerJoin('region_group', 'region_group.group_id', 'replica.group_id')
    .select(['replica.node_id as nodeId', sql<number>`count(*)`.as('replicas')])
    .where('region_group.holder_id', '=', self.holder_id)
    .where('replica.state', '=', state)
    .groupBy('replica.node_id')
    .orderBy('replica.node_id')
    .execute();
  const { groups } = await transaction
    .selectFrom('region_group')
    .select(sql<number>`count(*)`.as('groups'))
    .where('holder_id', '=', self.holder_id)
    .executeTakeFirstOrThrow();
  const open = nodes.reduce((sum, { replicas }) => sum + replicas, 0);
  await transaction
    .updateTable('holder')
    .set({ replicas: sql`greatest(replicas, ${open})` })
    .where('holder_id', '=', self.holder_id)
    .execute();
  return { kind: 'GRANTED', nodes, groups };
}

export async function requireActive(transaction: CatalogTransaction, name: string): Promise<void> {
  const database = await transaction
    .selectFrom('database')
    .selectAll()
    .where('name', '=', name)
    .forShare()
    .executeTakeFirst();
  if (database === undefined) reject('DATABASE_NOT_FOUND', `database ${name} does not exist`);
  if (database.state === 'ACTIVE') return;
  const holder = await transaction
    .selectFrom('holder')
    .selectAll()
    .where('holder_id', '=', database.holder_id)
    .executeTakeFirst();
  if (holder === undefined) reject('DATABASE_DELETING', `database ${name} is being deleted`);
  refuse(holder, `database ${name}`);
}

export function requireAll(ids: readonly number[], rows: readonly GroupRow[]): void {
  const known = new Set(idsOfRows(rows));
  const missing = ids.filter((id) => !known.has(id));
  if (missing.length === 0) return;
  const shown =
    missing.slice(0, 10).join(', ') + (missing.length > 10 ? ` and ${missing.length - 10} more` : '');
  reject('REGION_GROUP_NOT_FOUND', `region group ${shown} does not exist (never created, or removed)`);
}

export async function replicasByGroup(
  transaction: CatalogTransaction,
  ids: readonly number[],
): Promise<Map<number, { nodeId: string; state: ReplicaState; error?: string }[]>> {
  const rows = await transaction
    .selectFrom('replica')
    .select(['group_id', 'node_id', 'state', 'last_error'])
    .where('group_id', '=', anyOf(ids))
    .orderBy('node_id')
    .execute();
  const byGroup = new Map<number, { nodeId: string; state: ReplicaState; error?: string }[]>();
  for (const { group_id, node_id, state, last_error } of rows) {
    const replica = { nodeId: node_id, state, ...(last_error !== null && { error: last_error }) };
    const known = byGroup.get(group_id);
    if (known === undefined) byGroup.set(group_id, [replica]);
    else known.push(replica);
  }
  return byGroup;
}

export function isTaken({ verdict }: Judged<unknown>): boolean {
  return verdict.kind === 'TAKE';
}

export function idsOf(judged: readonly Judged<GroupRow>[]): number[] {
  return judged.map(({ row }) => row.group_id);
}

export function idsOfRows(rows: readonly { readonly group_id: number }[]): number[] {
  return rows.map(({ group_id }) => group_id);
}

function isIds(which: unknown): which is readonly number[] {
  return Array.isArray(which);
}
