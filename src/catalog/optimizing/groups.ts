import { sql } from 'kysely';
import { DEFAULT_GROUP_SETTINGS, type GroupSettings } from '../../rules/keeping.js';
import type { ResourceState } from '../../rules/optimizing-states.js';
import type { Catalog } from '../catalog.js';

/** A group of optimizers, and what it has. */
export interface OptimizerGroupStatus {
  readonly name: string;
  readonly container: string;
  readonly properties: Readonly<Record<string, string>>;
  /** Defaults filled in. */
  readonly settings: GroupSettings;
  readonly createdBy: string;
  readonly createdAt: Date;
  readonly tables: number;
  readonly plannedTasks: number;
  readonly resources: readonly OptimizerResourceStatus[];
}

export interface OptimizerResourceStatus {
  readonly resourceId: string;
  readonly state: ResourceState;
  readonly nodeId: string | null;
  /** Number of its launch. */
  readonly epoch: number;
  readonly threads: number;
  readonly memoryMb: number;
  readonly lastError: string | null;
  readonly startTime: Date;
  readonly container: string;
  readonly processId: string | null;
  readonly properties: Readonly<Record<string, string>>;
  /** The last launch whose optimizer registered; 0: none ever did. */
  readonly registeredLaunch: number;
  /** Undefined: none is registered. */
  readonly optimizer?: OptimizerStatus;
}

export interface OptimizerStatus {
  readonly launch: number;
  readonly alive: boolean;
  /** Milliseconds since its last heartbeat, by the catalog's clock. */
  readonly silentMs: number;
  readonly registeredAt: Date;
}

/** False: a group of that name was there before. */
export async function createOptimizerGroup(
  catalog: Catalog,
  group: {
    readonly name: string;
    readonly container: string;
    readonly properties: Readonly<Record<string, string>>;
    readonly settings: Partial<GroupSettings>;
    readonly actor: string;
  },
): Promise<boolean> {
  const { numInsertedOrUpdatedRows } = await catalog
    .insertInto('optimizer_group')
    .values({
      name: group.name,
      container: group.container,
      properties: JSON.stringify(group.properties),
      settings: JSON.stringify(group.settings),
      created_by: group.actor,
    })
    .onConflict((conflict) => conflict.column('name').doNothing())
    .executeTakeFirst();
  return numInsertedOrUpdatedRows === 1n;
}

/** All groups, or the one of that name, with their resources and optimizers, by name. */
export async function listOptimizerGroups(catalog: Catalog, name?: string): Promise<OptimizerGroupStatus[]> {
  let groups = catalog
    .selectFrom('optimizer_group')
    .select((expression) => [
      'name',
      'container',
      'properties',
      'settings',
      'created_by as createdBy',
      'created_at as createdAt',
      expression
        .selectFrom('data_table')
        .whereRef('data_table.group_name', '=', 'optimizer_group.name')
        .select(sql<number>`count(*)`.as('count'))
        .$asScalar()
        .$notNull()
        .as('tables'),
      expression
        .selectFrom('optimizing_task')
        .whereRef('optimizing_task.group_name', '=', 'optimizer_group.name')
        .where('optimizing_task.state', '=', 'PLANNED')
        .select(sql<number>`count(*)`.as('count'))
        .$asScalar()
        .$notNull()
        .as('plannedTasks'),
    ])
    .orderBy('name');
  let resources = catalog
    .selectFrom('optimizer_resource as resource')
    .leftJoin('optimizer', 'optimizer.resource_id', 'resource.resource_id')
    .select([
      'resource.resource_id as resourceId',
      'resource.group_name as group',
      'resource.state as state',
      'resource.node_id as nodeId',
      'resource.epoch as epoch',
      'resource.threads as threads',
      'resource.memory_mb as memoryMb',
      'resource.last_error as lastError',
      'resource.start_time as startTime',
      'resource.container as container',
      'resource.process_id as processId',
      'resource.properties as properties',
      'resource.registered_launch as registeredLaunch',
      'optimizer.launch as launch',
      'optimizer.registered_at as registeredAt',
      optimizerIsAlive().as('alive'),
      sql<number>`greatest(0, extract(epoch FROM now() - optimizer.last_touch) * 1000)::bigint`.as(
        'silentMs',
      ),
    ])
    .orderBy('resource.resource_id');
  if (name !== undefined) {
    groups = groups.where('name', '=', name);
    resources = resources.where('resource.group_name', '=', name);
  }
  const [groupRows, resourceRows] = await Promise.all([groups.execute(), resources.execute()]);
  return groupRows.map((group) => ({
    ...group,
    settings: { ...DEFAULT_GROUP_SETTINGS, ...group.settings },
    resources: resourceRows
      .filter((row) => row.group === group.name)
      .map(({ launch, registeredAt, alive, silentMs, ...resource }) => ({
        ...resource,
        ...(launch !== null &&
          registeredAt !== null && { optimizer: { launch, registeredAt, alive, silentMs } }),
      })),
  }));
}

/** Live optimizers of a group. */
export async function countLiveOptimizers(catalog: Catalog, group: string): Promise<number> {
  const { count } = await catalog
    .selectFrom('optimizer')
    .select(sql<number>`count(*)`.as('count'))
    .where('group_name', '=', group)
    .where(optimizerIsAlive())
    .executeTakeFirstOrThrow();
  return count;
}

/**
 * By the heartbeat time-out of its group and the database's clock, so that no two clocks are compared. For queries on
 * `optimizer`.
 */
export function optimizerIsAlive() {
  return sql<boolean>`optimizer.last_touch > now() - make_interval(secs => (
    SELECT coalesce((settings->>'heartbeatTimeoutMs')::float, ${DEFAULT_GROUP_SETTINGS.heartbeatTimeoutMs}) / 1000
    FROM optimizer_group WHERE optimizer_group.name = optimizer.group_name))`;
}
