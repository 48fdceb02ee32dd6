import { sql } from 'kysely';
import type { Catalog, CatalogTransaction } from '../catalog.js';
import { optimizerIsAlive } from './groups.js';

/** An optimizer as it presents itself. */
export interface OptimizerRegistration {
  readonly resourceId: string;
  readonly group: string;
  /** Launch of the resource that the process belongs to; 0 when no container started it. */
  readonly launch: number;
  readonly threads: number;
  readonly memoryMb: number;
  readonly nodeId: string | undefined;
}

export type TouchVerdict =
  | { readonly kind: 'ALIVE'; readonly token: string; readonly inherited: number }
  /** The token is not, or no longer, the resource's: register again. */
  | { readonly kind: 'UNKNOWN_TOKEN' }
  /** The optimizer must end itself. */
  | { readonly kind: 'REFUSED'; readonly reason: string };

/**
 * Registers an optimizer under a new token: the old one is not valid any more, and its open tasks are the new one's, also
 * when the old one expired before. One transaction that locks the resource's row, then the optimizer's, then the tasks':
 * of two processes that register at once, the later one has it.
 */
export async function registerOptimizer(
  catalog: Catalog,
  registration: OptimizerRegistration,
): Promise<TouchVerdict> {
  const { resourceId, group, launch, threads, memoryMb, nodeId } = registration;
  return catalog.transaction().execute(async (transaction) => {
    if (launch === 0) await adoptResource(transaction, registration);
    const resource = await transaction
      .selectFrom('optimizer_resource')
      .select(['group_name', 'state', 'epoch'])
      .where('resource_id', '=', resourceId)
      .forUpdate()
      .executeTakeFirst();
    if (resource === undefined) return refused(`resource ${resourceId} is unknown`);
    if (resource.state === 'RELEASING') return refused(`resource ${resourceId} is being released`);
    if (resource.group_name !== group) {
      return refused(`resource ${resourceId} belongs to group ${resource.group_name}, not to ${group}`);
    }
    const registered = await transaction
      .selectFrom('optimizer')
      .select(['launch', optimizerIsAlive().as('alive')])
      .where('resource_id', '=', resourceId)
      .forUpdate()
      .executeTakeFirst();
    const newest = launch > 0 ? resource.epoch : registered?.alive === true ? registered.launch : 0;
    if (newest !== launch) {
      return refused(
        `launch ${launch} of resource ${resourceId} is fenced: launch ${newest} is the newest one`,
      );
    }
    await transaction
      .updateTable('optimizer_resource')
      .set({ registered_launch: launch || resource.epoch })
      .where('resource_id', '=', resourceId)
      .execute();
    await transaction.deleteFrom('optimizer').where('resource_id', '=', resourceId).execute();
    const { token } = await transaction
      .insertInto('optimizer')
      .values({
        resource_id: resourceId,
        group_name: group,
        launch,
        threads,
        memory_mb: memoryMb,
        node_id: nodeId ?? null,
        // Not when the transaction began: it may have waited for the resource's row.
        registered_at: sql<Date>`clock_timestamp()`,
        last_touch: sql<Date>`clock_timestamp()`,
      })
      .returning('token')
      .executeTakeFirstOrThrow();
    return { kind: 'ALIVE', token, inherited: await inheritTasks(transaction, resourceId, token) };
  });
}

/**
 * What somebody else started, in a group whose container is not ours, gets its resource's row when it first registers:
 * nobody else makes one.
 */
async function adoptResource(
  transaction: CatalogTransaction,
  { resourceId, group, threads, memoryMb }: OptimizerRegistration,
): Promise<void> {
  await sql`
    INSERT INTO optimizer_resource
      (resource_id, group_name, container, state, epoch, threads, memory_mb, created_by)
    SELECT ${resourceId}, name, container, 'STARTED', 1, ${threads}, ${memoryMb}, 'optimizer'
    FROM optimizer_group WHERE name = ${group} AND container <> ${OWN_CONTAINER}
    ON CONFLICT (resource_id) DO NOTHING
  `.execute(transaction);
}

/** Its resources are made before their processes are. */
const OWN_CONTAINER = 'local';

/**
 * A heartbeat. It also revives an optimizer that was silent for too long and is not expired yet. It holds the resource's
 * row, so that of a heartbeat and a release one sees the other.
 */
export async function touchOptimizer(
  catalog: Catalog,
  resourceId: string,
  token: string,
): Promise<TouchVerdict> {
  return catalog.transaction().execute(async (transaction) => {
    const resource = await transaction
      .selectFrom('optimizer_resource')
      .select('state')
      .where('resource_id', '=', resourceId)
      .forShare()
      .executeTakeFirst();
    if (resource === undefined) return refused(`resource ${resourceId} is unknown`);
    if (resource.state === 'RELEASING') return refused(`resource ${resourceId} is being released`);
    const { numUpdatedRows } = await transaction
      .updateTable('optimizer')
      .set({ last_touch: sql`clock_timestamp()` })
      .where('token', '=', token)
      .where('resource_id', '=', resourceId)
      .executeTakeFirst();
    return numUpdatedRows === 0n ? { kind: 'UNKNOWN_TOKEN' } : { kind: 'ALIVE', token, inherited: 0 };
  });
}

/** Whom a token stands for. */
export interface KnownOptimizer {
  readonly token: string;
  readonly resourceId: string;
  readonly group: string;
  readonly nodeId: string | null;
  readonly releasing: boolean;
}

/** Undefined: the token is not, or no longer, the one of a resource. */
export async function findOptimizer(catalog: Catalog, token: string): Promise<KnownOptimizer | undefined> {
  const row = await catalog
    .selectFrom('optimizer')
    .innerJoin('optimizer_resource as resource', 'resource.resource_id', 'optimizer.resource_id')
    .select(['optimizer.resource_id', 'optimizer.group_name', 'optimizer.node_id', 'resource.state'])
    .where('token', '=', token)
    .executeTakeFirst();
  return (
    row && {
      token,
      resourceId: row.resource_id,
      group: row.group_name,
      nodeId: row.node_id,
      releasing: row.state === 'RELEASING',
    }
  );
}

/** Rows are locked in the order of their key, as whatever else locks several of them does. */
async function inheritTasks(
  transaction: CatalogTransaction,
  resourceId: string,
  token: string,
): Promise<number> {
  const tasks = await transaction
    .selectFrom('optimizing_task')
    .select(['process_id', 'task_no'])
    .where('resource_id', '=', resourceId)
    .where('state', 'in', ['SCHEDULED', 'ACKED'])
    .orderBy('process_id')
    .orderBy('task_no')
    .forUpdate()
    .execute();
  if (tasks.length === 0) return 0;
  await transaction
    .updateTable('optimizing_task')
    .set({ token })
    .where('resource_id', '=', resourceId)
    .where('state', 'in', ['SCHEDULED', 'ACKED'])
    .execute();
  return tasks.length;
}

function refused(reason: string): TouchVerdict {
  return { kind: 'REFUSED', reason };
}
