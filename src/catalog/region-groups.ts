import { type Selectable, sql } from 'kysely';
import type { CreateRegionGroupsInput } from '../rules/input.js';
import { placeGroups, placeMissing } from '../rules/placement.js';
import { creationOutcome, type GroupOutcome } from '../rules/quorum.js';
import type { Holder, HolderRef } from '../rules/words.js';
import { type Catalog, type CatalogTransaction, nextEpoch } from './catalog.js';
import {
  type Claimant,
  type ClaimContext,
  type ClaimRefused,
  type ClaimRejected,
  claim,
  epochFor,
  findHolder,
  type HolderRow,
  type IsOpen,
  type Judged,
  judgeRows,
  refuse,
  reject,
  supersededBy,
} from './claims.js';
import { placementCandidates } from './nodes.js';
import { assignFreeSlots } from './partitions.js';
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

type GroupRow = Selectable<CatalogTables['region_group']> & { readonly resource: string };

/**
 * Allocates the region groups of a creation and claims them, in one transaction. Asking again with the same request
 * allocates nothing: it goes on with what is still open.
 */
export async function claimCreation(
  catalog: Catalog,
  claimant: Claimant,
  input: CreateRegionGroupsInput,
  options: { readonly nodeTimeoutMs: number; readonly isOpen: IsOpen },
): Promise<ClaimAnswer> {
  return claim(catalog, claimant, undefined, options.isOpen, async (transaction, context) => {
    await requireActive(transaction, input.database);
    const allocation = await transaction
      .insertInto('allocation')
      .values({
        database: input.database,
        request: input.request,
        kind: input.kind,
        groups: input.groups,
        replication_factor: input.replicationFactor,
      })
      .onConflict((conflict) => conflict.columns(['database', 'request']).doNothing())
      .returning('request')
      .executeTakeFirst();
    if (allocation === undefined) return resumeCreation(transaction, context, input);

    const candidates = await placementCandidates(transaction, options.nodeTimeoutMs);
    const placements = placeGroups(candidates, input.groups, input.replicationFactor);
    if (placements === undefined) {
      reject(
        'NOT_ENOUGH_NODES',
        `${input.replicationFactor} replicas need as many live nodes, and there are ${candidates.length}`,
      );
    }
    await insertGroups(transaction, context.self, input, placements);
    return granted(transaction, context.self, 'CREATING');
  });
}

/**
 * One round of a recreation: claims region groups that lack replicas, raises their epoch, and places what is missing on
 * live nodes that have none yet. Region groups that lack nothing are released. Asking twice for one round changes nothing.
 */
export async function claimRecreation(
  catalog: Catalog,
  claimant: Claimant,
  input: {
    readonly database: string;
    readonly groups?: readonly number[] | undefined;
    readonly from?: HolderRef | undefined;
  },
  options: {
    /** Names the round; another name than the last one raises the epoch. */ readonly round: string;
    readonly nodeTimeoutMs: number;
    readonly isOpen: IsOpen;
  },
): Promise<(ClaimGranted & { readonly unplaced: number }) | ClaimRefused | ClaimRejected> {
  return claim(catalog, claimant, input.from, options.isOpen, async (transaction, context) => {
    const { self } = context;
    const first = self.round === '';
    if (first) await requireActive(transaction, input.database);
    if (self.round !== options.round) {
      const rows = await lockGroups(
        transaction,
        first
          ? (input.groups ?? { heldBy: context.predecessor?.holder_id ?? -1 })
          : { heldBy: self.holder_id },
      );
      if (first) requireRunning(input, rows);
      // A claim handed over holds region groups without quorum as well; those are the removal's.
      const wanted = rows.filter(({ state }) => state === 'RUNNING');
      const judged = await judgeRows(transaction, context, wanted);
      const raised = first ? judged.filter(isTaken) : judged;
      if (raised.length > 0) {
        await takeGroups(transaction, self, idsOf(raised), { epoch: await nextEpoch(transaction) });
        await reopenReplicas(transaction, idsOf(raised));
        await placeMissingReplicas(
          transaction,
          raised.map(({ row }) => row),
          options.nodeTimeoutMs,
        );
      }
      const continued = judged.filter((one) => !raised.includes(one));
      if (continued.length > 0) await takeGroups(transaction, self, idsOf(continued), {});
      await transaction
        .updateTable('holder')
        .set({ round: options.round })
        .where('holder_id', '=', self.holder_id)
        .execute();
    }
    await releaseComplete(transaction, self);
    return {
      ...(await granted(transaction, self, 'CREATING')),
      unplaced: await countUnplaced(transaction, self),
    };
  });
}

/** Claims region groups for their removal, and marks all their replicas as to be removed. */
export async function claimRemoval(
  catalog: Catalog,
  claimant: Claimant,
  input: { readonly groups?: readonly number[] | undefined; readonly from?: HolderRef | undefined },
  options: { readonly isOpen: IsOpen },
): Promise<(ClaimGranted & { readonly database: string | undefined }) | ClaimRefused | ClaimRejected> {
  return claim(catalog, claimant, input.from, options.isOpen, async (transaction, context) => {
    const { self, predecessor } = context;
    const rows = await lockGroups(transaction, input.groups ?? { heldBy: predecessor?.holder_id ?? -1 });
    if (input.groups !== undefined) {
      requireAll(input.groups, rows);
    }
    const wanted = input.groups === undefined ? rows.filter(({ state }) => state !== 'RUNNING') : rows;
    const judged = await judgeRows(transaction, context, wanted);
    await claimForRemoval(transaction, self, judged);
    const databases = new Set(wanted.map(({ database }) => database));
    const [database] = databases.size === 1 ? databases : [];
    return { ...(await granted(transaction, self, 'REMOVING')), database };
  });
}

/** How a creation ended, from the catalog. */
export interface CreationClosing {
  readonly complete: number;
  /** Region groups that run without all replicas: handed to a recreation. */
  readonly incomplete: number;
  /** Region groups without quorum: handed to a removal. */
  readonly withoutQuorum: number;
  /** Region groups that somebody took over or removed. */
  readonly lost: number;
  readonly supersededBy?: Holder;
  /** The region groups that are not complete, at most {@link MAX_REPORTED_GROUPS}. */
  readonly reports: readonly GroupReport[];
}

export interface GroupReport {
  readonly groupId: number;
  readonly outcome: GroupOutcome | 'TAKEN_OVER';
  readonly replicas: readonly {
    readonly nodeId: string;
    readonly state: ReplicaState;
    readonly error?: string;
  }[];
}

export const MAX_REPORTED_GROUPS = 100;

/**
 * The closing step of a creation. Region groups that are not complete stay under its claim until the detached successor
 * takes them over from it. Asked again, it answers what it answered before.
 */
export async function closeCreation(
  catalog: Catalog,
  holder: HolderRef,
  input: CreateRegionGroupsInput,
): Promise<CreationClosing> {
  return closing(catalog, holder, async (transaction, self) => {
    const groups = await transaction
      .selectFrom('region_group')
      .selectAll()
      .where('database', '=', input.database)
      .where('request', '=', input.request)
      .orderBy('group_id')
      .forUpdate()
      .execute();
    const replicas = await replicasByGroup(
      transaction,
      groups.map(({ group_id }) => group_id),
    );
    const reports = groups.map((group): GroupReport => {
      const own = replicas.get(group.group_id) ?? [];
      const running = own.filter(({ state }) => state === 'RUNNING').length;
      const mine = group.holder_id === null || group.holder_id === self.holder_id;
      return {
        groupId: group.group_id,
        outcome: mine ? creationOutcome(running, group.replication_factor) : 'TAKEN_OVER',
        replicas: own,
      };
    });
    await assignFreeSlots(transaction, input.database, input.kind);
    const count = (outcome: GroupReport['outcome']) =>
      reports.filter((one) => one.outcome === outcome).length;
    const by = await supersededBy(transaction, self);
    return {
      complete: count('COMPLETE'),
      incomplete: count('INCOMPLETE'),
      withoutQuorum: count('NO_QUORUM'),
      lost: count('TAKEN_OVER') + input.groups - groups.length,
      ...(by && { supersededBy: by }),
      reports: reports.filter(({ outcome }) => outcome !== 'COMPLETE').slice(0, MAX_REPORTED_GROUPS),
    };
  });
}

export interface RemovalClosing {
  readonly removedGroups: number;
  readonly removedReplicas: number;
  readonly supersededBy?: Holder;
}

/** The closing step of a removal: drops the region groups under its claim that have no replica left (I4). */
export async function closeRemoval(catalog: Catalog, holder: HolderRef): Promise<RemovalClosing> {
  return closing(catalog, holder, async (transaction, self) => {
    const groups = await dropEmptyGroups(transaction, self);
    for (const { database, kind } of distinct(groups)) await assignFreeSlots(transaction, database, kind);
    const by = await supersededBy(transaction, self);
    return {
      removedGroups: groups.length,
      removedReplicas: by === undefined ? self.replicas : 0,
      ...(by && { supersededBy: by }),
    };
  });
}

/** Lets go of everything that a recreation holds; the replicas stay missing. */
export async function releaseRecreation(catalog: Catalog, holder: HolderRef): Promise<void> {
  await catalog.transaction().execute(async (transaction) => {
    const self = await findHolder(transaction, holder);
    if (self === undefined) return;
    const rows = await lockGroups(transaction, { heldBy: self.holder_id });
    await transaction
      .updateTable('replica')
      .set({ state: 'UNKNOWN', state_since: sql`now()` })
      .where('group_id', 'in', [-1, ...rows.map(({ group_id }) => group_id)])
      .where('state', '=', 'CREATING')
      .execute();
    await transaction
      .updateTable('region_group')
      .set({ holder_id: null })
      .where('holder_id', '=', self.holder_id)
      .execute();
    await endHolder(transaction, self, null);
  });
}

/** How a recreation ended; closes it. */
export async function closeRecreation(
  catalog: Catalog,
  holder: HolderRef,
): Promise<{ readonly supersededBy?: Holder }> {
  return closing(catalog, holder, async (transaction, self) => {
    const by = await supersededBy(transaction, self);
    return by === undefined ? {} : { supersededBy: by };
  });
}

/** Locks region groups for a claim, in id order: by id, or all that a holder holds. */
export async function lockGroups(
  transaction: CatalogTransaction,
  which: readonly number[] | { readonly heldBy: number } | { readonly database: string },
): Promise<GroupRow[]> {
  const query = transaction.selectFrom('region_group').selectAll().orderBy('group_id').forUpdate();
  const rows = await (isIds(which)
    ? query.where('group_id', '=', sql<number>`ANY (${[...which]}::bigint[])`)
    : 'heldBy' in which
      ? query.where('holder_id', '=', which.heldBy)
      : query.where('database', '=', which.database)
  ).execute();
  return rows.map((row) => ({ ...row, resource: `region group ${row.group_id}` }));
}

/** Puts judged region groups under a removal: epoch raised unless the claim goes on, every replica to be removed. */
export async function claimForRemoval(
  transaction: CatalogTransaction,
  self: HolderRow,
  judged: readonly Judged<GroupRow>[],
): Promise<void> {
  const taken = judged.filter(isTaken);
  const continued = judged.filter(({ verdict }) => verdict.kind === 'CONTINUE');
  const epoch = await epochFor(transaction, taken);
  if (epoch !== undefined) {
    await takeGroups(transaction, self, idsOf(taken), { epoch, state: 'REMOVING' });
    await transaction
      .updateTable('replica')
      .set({ state: 'REMOVING', attempt: 1, not_before: null, last_error: null, state_since: sql`now()` })
      .where('group_id', '=', sql<number>`ANY (${idsOf(taken)}::bigint[])`)
      .execute();
  }
  if (continued.length > 0) await takeGroups(transaction, self, idsOf(continued), {});
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

/** Drops the region groups of a holder that have no replica left, with their partition slots. */
export async function dropEmptyGroups(
  transaction: CatalogTransaction,
  self: HolderRow,
): Promise<{ readonly database: string; readonly kind: 'SCHEMA' | 'DATA' }[]> {
  const held = await lockGroups(transaction, { heldBy: self.holder_id });
  const replicas = await replicasByGroup(transaction, idsOfRows(held));
  const empty = held.filter(({ group_id }) => !replicas.has(group_id));
  const ids = sql<number>`ANY (${idsOfRows(empty)}::bigint[])`;
  await transaction.deleteFrom('partition').where('group_id', '=', ids).execute();
  await transaction.deleteFrom('region_group').where('group_id', '=', ids).execute();
  return empty;
}

/** Runs a closing step once: its answer is kept with the holder and given again to whoever asks again. */
export async function closing<T>(
  catalog: Catalog,
  ref: HolderRef,
  step: (transaction: CatalogTransaction, self: HolderRow) => Promise<T>,
): Promise<T> {
  return catalog.transaction().execute(async (transaction) => {
    const self = await findHolder(transaction, ref);
    if (self === undefined) throw new Error(`${ref.workflowId} holds no claim that could be closed`);
    if (self.ended_at !== null) return self.outcome as T;
    const outcome = await step(transaction, self);
    if (await endHolder(transaction, self, outcome)) return outcome;
    // Somebody closed it while the step waited for the rows: what he answered stands.
    return (await findHolder(transaction, ref))!.outcome as T;
  });
}

async function endHolder(
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

async function requireActive(transaction: CatalogTransaction, name: string): Promise<void> {
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

async function resumeCreation(
  transaction: CatalogTransaction,
  context: ClaimContext,
  input: CreateRegionGroupsInput,
): Promise<ClaimAnswer> {
  const allocation = await transaction
    .selectFrom('allocation')
    .selectAll()
    .where('database', '=', input.database)
    .where('request', '=', input.request)
    .executeTakeFirstOrThrow();
  if (
    allocation.kind !== input.kind ||
    allocation.groups !== input.groups ||
    allocation.replication_factor !== input.replicationFactor
  ) {
    reject(
      'REQUEST_REUSED',
      `request ${input.request} of database ${input.database} asked for ${allocation.groups} ${allocation.kind} region ` +
        `groups of ${allocation.replication_factor} replicas before: give another request name`,
    );
  }
  const rows = await transaction
    .selectFrom('region_group')
    .innerJoin('holder', 'holder.holder_id', 'region_group.holder_id')
    .selectAll('region_group')
    .where('database', '=', input.database)
    .where('request', '=', input.request)
    .where('holder.workflow_type', '=', 'createRegionGroups')
    .orderBy('group_id')
    .forUpdate('region_group')
    .execute();
  const judged = await judgeRows(
    transaction,
    context,
    rows.map((row) => ({ ...row, resource: `region group ${row.group_id}` })),
  );
  if (judged.length > 0) await takeGroups(transaction, context.self, idsOf(judged), {});
  return granted(transaction, context.self, 'CREATING');
}

async function insertGroups(
  transaction: CatalogTransaction,
  self: HolderRow,
  input: CreateRegionGroupsInput,
  placements: readonly (readonly string[])[],
): Promise<void> {
  const epoch = await nextEpoch(transaction);
  const groups = await transaction
    .insertInto('region_group')
    .values(
      placements.map((peers) => ({
        database: input.database,
        kind: input.kind,
        replication_factor: input.replicationFactor,
        state: 'PROVISIONING' as const,
        request: input.request,
        peers: [...peers],
        epoch,
        holder_id: self.holder_id,
      })),
    )
    .returning(['group_id', 'peers'])
    .execute();
  const replicas = groups.flatMap(({ group_id, peers }) =>
    peers.map((nodeId) => ({ groupId: group_id, nodeId })),
  );
  await sql`
    INSERT INTO replica (group_id, node_id, state)
    SELECT group_id, node_id, 'CREATING'
    FROM unnest(${replicas.map(({ groupId }) => groupId)}::bigint[], ${replicas.map(({ nodeId }) => nodeId)}::text[])
      AS placed (group_id, node_id)
  `.execute(transaction);
}

async function takeGroups(
  transaction: CatalogTransaction,
  self: HolderRow,
  ids: readonly number[],
  change: { readonly epoch?: number; readonly state?: 'REMOVING' },
): Promise<void> {
  await transaction
    .updateTable('region_group')
    .set({ holder_id: self.holder_id, ...change })
    .where('group_id', '=', sql<number>`ANY (${[...ids]}::bigint[])`)
    .execute();
}

/** Under a new epoch, what is not running is asked for again, with attempts counted from 1. */
async function reopenReplicas(transaction: CatalogTransaction, ids: readonly number[]): Promise<void> {
  await transaction
    .updateTable('replica')
    .set({ state: 'CREATING', attempt: 1, not_before: null, last_error: null, state_since: sql`now()` })
    .where('group_id', '=', sql<number>`ANY (${[...ids]}::bigint[])`)
    .where('state', 'in', ['CREATING', 'FAILED', 'UNKNOWN'])
    .execute();
}

/** Places what the region groups lack on live nodes that have none of it yet, as far as there are such nodes. */
async function placeMissingReplicas(
  transaction: CatalogTransaction,
  groups: readonly GroupRow[],
  nodeTimeoutMs: number,
): Promise<void> {
  const replicas = await replicasByGroup(transaction, idsOfRows(groups));
  const load = new Map(
    (await placementCandidates(transaction, nodeTimeoutMs)).map(({ nodeId, replicas: count }) => [
      nodeId,
      count,
    ]),
  );
  for (const group of groups) {
    const taken = (replicas.get(group.group_id) ?? []).map(({ nodeId }) => nodeId);
    const chosen = placeMissing(load, taken, group.replication_factor - taken.length);
    await transaction
      .updateTable('region_group')
      .set({ peers: [...taken, ...chosen].sort() })
      .where('group_id', '=', group.group_id)
      .execute();
    if (chosen.length === 0) continue;
    await transaction
      .insertInto('replica')
      .values(chosen.map((node_id) => ({ group_id: group.group_id, node_id, state: 'CREATING' as const })))
      .execute();
    await transaction
      .deleteFrom('forgotten_replica')
      .where('group_id', '=', group.group_id)
      .where('node_id', 'in', chosen)
      .execute();
  }
}

/** Replicas that the holder's region groups lack and for which no node was found. */
async function countUnplaced(transaction: CatalogTransaction, self: HolderRow): Promise<number> {
  const { rows } = await sql<{ unplaced: number }>`
    SELECT coalesce(sum(g.replication_factor - (SELECT count(*) FROM replica r WHERE r.group_id = g.group_id)), 0)::int
      AS unplaced
    FROM region_group g WHERE g.holder_id = ${self.holder_id}
  `.execute(transaction);
  return rows[0]!.unplaced;
}

async function releaseComplete(transaction: CatalogTransaction, self: HolderRow): Promise<void> {
  await sql`
    UPDATE region_group g SET holder_id = NULL
    WHERE g.holder_id = ${self.holder_id}
      AND g.replication_factor <= (
        SELECT count(*) FROM replica r WHERE r.group_id = g.group_id AND r.state = 'RUNNING'
      )
  `.execute(transaction);
}

async function replicasByGroup(
  transaction: CatalogTransaction,
  ids: readonly number[],
): Promise<Map<number, { nodeId: string; state: ReplicaState; error?: string }[]>> {
  const rows = await transaction
    .selectFrom('replica')
    .select(['group_id', 'node_id', 'state', 'last_error'])
    .where('group_id', '=', sql<number>`ANY (${[...ids]}::bigint[])`)
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

function requireRunning(
  input: { readonly database: string; readonly groups?: readonly number[] | undefined },
  rows: readonly GroupRow[],
): void {
  if (input.groups === undefined) return;
  requireAll(
    input.groups,
    rows.filter(({ database }) => database === input.database),
  );
  const other = rows.find(({ state }) => state !== 'RUNNING');
  if (other === undefined) return;
  reject(
    'REGION_GROUP_REMOVING',
    `region group ${other.group_id} is ${other.state}: only a RUNNING one gets its missing replicas back`,
  );
}

function requireAll(ids: readonly number[], rows: readonly GroupRow[]): void {
  const known = new Set(idsOfRows(rows));
  const missing = ids.filter((id) => !known.has(id));
  if (missing.length === 0) return;
  const shown =
    missing.slice(0, 10).join(', ') + (missing.length > 10 ? ` and ${missing.length - 10} more` : '');
  reject('REGION_GROUP_NOT_FOUND', `region group ${shown} does not exist (never created, or removed)`);
}

function isTaken({ verdict }: Judged<unknown>): boolean {
  return verdict.kind === 'TAKE';
}

function idsOf(judged: readonly Judged<GroupRow>[]): number[] {
  return judged.map(({ row }) => row.group_id);
}

function idsOfRows(rows: readonly { readonly group_id: number }[]): number[] {
  return rows.map(({ group_id }) => group_id);
}

function isIds(which: unknown): which is readonly number[] {
  return Array.isArray(which);
}

function distinct(groups: readonly { readonly database: string; readonly kind: 'SCHEMA' | 'DATA' }[]) {
  return [...new Map(groups.map((group) => [`${group.database}/${group.kind}`, group])).values()];
}
