import { sql } from 'kysely';
import type { CreateRegionGroupsInput } from '../rules/input.js';
import { placeGroups } from '../rules/placement.js';
import { creationOutcome, type GroupOutcome } from '../rules/quorum.js';
import type { Holder, HolderRef } from '../rules/words.js';
import { type Catalog, type CatalogTransaction, nextEpoch } from './catalog.js';
import {
  type Claimant,
  type ClaimContext,
  claim,
  type HolderRow,
  holdersById,
  type IsOpen,
  judgeRows,
  reject,
  supersededBy,
} from './claims.js';
import { closing } from './closing.js';
import {
  type ClaimAnswer,
  granted,
  idsOf,
  replicasByGroup,
  requireActive,
  takeGroups,
} from './group-rows.js';
import { placementCandidates } from './nodes.js';
import { assignFreeSlots } from './partitions.js';
import type { ReplicaState } from './schema.js';

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
    const by = (await supersededBy(transaction, self)) ?? (await takenOverBy(transaction, self, groups));
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

/** Who holds a region group that this creation had completed and released before. */
async function takenOverBy(
  transaction: CatalogTransaction,
  self: HolderRow,
  groups: readonly { readonly holder_id: number | null }[],
): Promise<Holder | undefined> {
  const others = groups.flatMap(({ holder_id }) => (holder_id === self.holder_id ? [] : [holder_id]));
  const [holder] = (await holdersById(transaction, others)).values();
  return holder;
}
