import { type ExpressionBuilder, type Selectable, sql } from 'kysely';
import type { StartedResource } from '../../engines/optimizers.js';
import { mayResourceBecome } from '../../rules/optimizing-states.js';
import type { Catalog, CatalogTransaction } from '../catalog.js';
import { isAlive } from '../nodes.js';
import { optimizerIsAlive } from '../optimizing/groups.js';
import type { CatalogTables } from '../schema.js';

export type ResourceRow = Selectable<CatalogTables['optimizer_resource']>;

export interface ResourceSpec {
  /** Never used again. */
  readonly resourceId: string;
  readonly group: string;
  readonly threads: number;
  readonly memoryMb: number;
  /** Who decided on it, when a keeper did. */
  readonly keeper?: string;
  readonly actor: string;
}

export interface Placing {
  readonly nodeTimeoutMs: number;
  /** Whether it needs a place on a live node that can start optimizers. */
  readonly onNodes: boolean;
}

/** The resources of a group, by their ids. */
export async function resourcesOf(catalog: Catalog, group: string): Promise<ResourceRow[]> {
  return catalog
    .selectFrom('optimizer_resource')
    .selectAll()
    .where('group_name', '=', group)
    .orderBy('resource_id')
    .execute();
}

/** Undefined: the group has none of that id. */
export async function findResource(
  catalog: Catalog,
  group: string,
  resourceId: string,
): Promise<ResourceRow | undefined> {
  return catalog
    .selectFrom('optimizer_resource')
    .selectAll()
    .where('resource_id', '=', resourceId)
    .where('group_name', '=', group)
    .executeTakeFirst();
}

/**
 * Makes the row of a new resource, placed on the live node that has the fewest threads. Asking again changes nothing.
 * False: another keeper has taken the group since this one looked, and decides anew.
 */
export async function allocateResource(
  catalog: Catalog,
  spec: ResourceSpec,
  placing: Placing,
): Promise<boolean> {
  const { resourceId, group, threads, memoryMb, keeper, actor } = spec;
  return catalog.transaction().execute(async (transaction) => {
    const taken = await transaction
      .selectFrom('optimizer_group')
      .select(['container', 'keeper'])
      .where('name', '=', group)
      .forShare()
      .executeTakeFirstOrThrow();
    if (keeper !== undefined && taken.keeper !== keeper) return false;
    await transaction
      .insertInto('optimizer_resource')
      .values({
        resource_id: resourceId,
        group_name: group,
        container: taken.container,
        node_id: placing.onNodes ? ((await placeOnNode(transaction, placing)) ?? null) : null,
        state: 'REQUESTED',
        epoch: 1,
        threads,
        memory_mb: memoryMb,
        properties: '{}',
        process_id: null,
        last_error: null,
        created_by: actor,
      })
      .onConflict((conflict) => conflict.column('resource_id').doNothing())
      .execute();
    return true;
  });
}

/** Chooses a place for what was requested while no node could start it; answers the row as it is then. */
export async function placeResource(
  catalog: Catalog,
  row: ResourceRow,
  placing: Pick<Placing, 'nodeTimeoutMs'>,
): Promise<ResourceRow> {
  return catalog.transaction().execute(async (transaction) => {
    const nodeId = await placeOnNode(transaction, placing);
    if (nodeId === undefined) return row;
    const placed = await transaction
      .updateTable('optimizer_resource')
      .set({ node_id: nodeId })
      .where('resource_id', '=', row.resource_id)
      .where('node_id', 'is', null)
      .where('state', '=', 'REQUESTED')
      .returningAll()
      .executeTakeFirst();
    return placed ?? row;
  });
}

/**
 * LAUNCHED: the launch was raised by one. JOINED: that had happened before. SKIPPED: there is nothing to launch: the
 * resource is gone or being released, another launch came in between, or an optimizer registered meanwhile and lives.
 */
export type Relaunch = 'LAUNCHED' | 'JOINED' | 'SKIPPED';

/**
 * Raises the launch from `fromLaunch` by one, or joins when that happened before; the place moves to a live node when its
 * own is not alive. A silent optimizer of an older launch has no token any more.
 */
export async function relaunchResource(
  catalog: Catalog,
  resourceId: string,
  fromLaunch: number,
  placing: Placing,
): Promise<Relaunch> {
  return catalog.transaction().execute(async (transaction) => {
    const row = await lockResource(transaction, resourceId);
    if (row === undefined || row.state === 'RELEASING') return 'SKIPPED';
    if (row.epoch === fromLaunch + 1) return 'JOINED';
    if (row.epoch !== fromLaunch) return 'SKIPPED';
    if (await hasLiveOptimizer(transaction, resourceId)) return 'SKIPPED';
    if (row.state !== 'REQUESTED' && !mayResourceBecome(row.state, 'REQUESTED')) return 'SKIPPED';
    const nodeId = placing.onNodes ? await placeAgain(transaction, row, placing) : row.node_id;
    await transaction.deleteFrom('optimizer').where('resource_id', '=', resourceId).execute();
    await transaction
      .updateTable('optimizer_resource')
      .set({ epoch: fromLaunch + 1, attempt: 1, state: 'REQUESTED', node_id: nodeId, last_error: null })
      .set({ state_since: sql`now()` })
      .where('resource_id', '=', resourceId)
      .execute();
    return 'LAUNCHED';
  });
}

/** Stores what the container started for this launch. When it was first started stays as it is. */
export async function recordStarted(
  catalog: Catalog,
  { resourceId, launch, started }: { resourceId: string; launch: number; started: StartedResource },
): Promise<void> {
  await catalog
    .updateTable('optimizer_resource')
    .set({
      state: 'STARTED',
      process_id: started.processId,
      threads: started.threads,
      memory_mb: started.memoryMb,
      properties: JSON.stringify(started.properties),
      last_error: null,
      state_since: sql`now()`,
    })
    .where('resource_id', '=', resourceId)
    .where('epoch', '=', launch)
    .where('state', '=', 'REQUESTED')
    .execute();
}

/** Notes why the container did not do it; after FAILED the next call is a new attempt. */
export async function recordContainerError(
  catalog: Catalog,
  { resource_id, epoch, attempt }: Pick<ResourceRow, 'resource_id' | 'epoch' | 'attempt'>,
  error: string,
  isFailed: boolean,
): Promise<void> {
  await catalog
    .updateTable('optimizer_resource')
    .set({ last_error: error, attempt: isFailed ? attempt + 1 : attempt })
    .where('resource_id', '=', resource_id)
    .where('epoch', '=', epoch)
    .where('attempt', '=', attempt)
    .execute();
}

/**
 * Begins to let go of a resource: from now on Touch is refused. KEPT when an optimizer registered for it and lives; the
 * optimizer's Touch and this lock the resource's row, so one of the two sees the other.
 */
export async function beginRelease(
  catalog: Catalog,
  resourceId: string,
): Promise<'RELEASING' | 'KEPT' | 'GONE'> {
  return catalog.transaction().execute(async (transaction) => {
    const row = await lockResource(transaction, resourceId);
    if (row === undefined) return 'GONE';
    if (row.state === 'RELEASING') return 'RELEASING';
    if (await hasLiveOptimizer(transaction, resourceId)) return 'KEPT';
    await transaction
      .updateTable('optimizer_resource')
      .set({ state: 'RELEASING', epoch: row.epoch + 1, attempt: 1, state_since: sql`now()` })
      .where('resource_id', '=', resourceId)
      .execute();
    return 'RELEASING';
  });
}

/** Takes away the rows of a resource that its container has released: the optimizer's first. */
export async function dropReleased(catalog: Catalog, resourceId: string): Promise<void> {
  await catalog.transaction().execute(async (transaction) => {
    const row = await lockResource(transaction, resourceId);
    if (row?.state !== 'RELEASING') return;
    await transaction.deleteFrom('optimizer').where('resource_id', '=', resourceId).execute();
    await transaction.deleteFrom('optimizer_resource').where('resource_id', '=', resourceId).execute();
  });
}

async function lockResource(
  transaction: CatalogTransaction,
  resourceId: string,
): Promise<ResourceRow | undefined> {
  return transaction
    .selectFrom('optimizer_resource')
    .selectAll()
    .where('resource_id', '=', resourceId)
    .forUpdate()
    .executeTakeFirst();
}

async function hasLiveOptimizer(transaction: CatalogTransaction, resourceId: string): Promise<boolean> {
  const row = await transaction
    .selectFrom('optimizer')
    .select(optimizerIsAlive().as('alive'))
    .where('resource_id', '=', resourceId)
    .executeTakeFirst();
  return row?.alive === true;
}

async function placeAgain(
  transaction: CatalogTransaction,
  row: ResourceRow,
  placing: Placing,
): Promise<string | null> {
  if (row.node_id !== null) {
    const own = await transaction
      .selectFrom('node')
      .select('node_id')
      .where('node_id', '=', row.node_id)
      .where(isAlive(placing.nodeTimeoutMs))
      .executeTakeFirst();
    if (own !== undefined) return row.node_id;
  }
  return (await placeOnNode(transaction, placing)) ?? row.node_id;
}

/** The live node with the fewest threads of optimizers. */
async function placeOnNode(
  transaction: CatalogTransaction,
  placing: Pick<Placing, 'nodeTimeoutMs'>,
): Promise<string | undefined> {
  const threads = (expression: ExpressionBuilder<CatalogTables, 'node'>) =>
    expression
      .selectFrom('optimizer_resource')
      .whereRef('optimizer_resource.node_id', '=', 'node.node_id')
      .select(sql<number>`coalesce(sum(threads), 0)`.as('threads'));
  const node = await transaction
    .selectFrom('node')
    .select('node_id')
    .where(isAlive(placing.nodeTimeoutMs))
    .where(sql<boolean>`'resources' = ANY (capabilities)`)
    .orderBy(threads)
    .orderBy('node_id')
    .limit(1)
    .executeTakeFirst();
  return node?.node_id;
}
