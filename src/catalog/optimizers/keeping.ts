import { sql } from 'kysely';
import type { Containers } from '../../engines/containers.js';
import {
  DEFAULT_GROUP_SETTINGS,
  type GroupSettings,
  type KeepingView,
  type LiveOptimizer,
} from '../../rules/keeping.js';
import type { KeptResource } from '../../rules/orphans.js';
import type { Catalog } from '../catalog.js';
import { optimizerIsAlive } from '../optimizing/groups.js';
import { type ResourceRow, resourcesOf } from './resources.js';

export interface KeptGroup {
  readonly container: string;
  readonly properties: Readonly<Record<string, string>>;
  readonly settings: GroupSettings;
}

/** The group with its settings, defaults filled in; undefined when there is no such group. */
export async function findGroup(catalog: Catalog, name: string): Promise<KeptGroup | undefined> {
  const row = await catalog
    .selectFrom('optimizer_group')
    .select(['container', 'properties', 'settings'])
    .where('name', '=', name)
    .executeTakeFirst();
  if (row === undefined) return undefined;
  return { ...row, settings: { ...DEFAULT_GROUP_SETTINGS, ...row.settings } };
}

/** Sets settings of a group to absolute values, so that asking again is safe. False: there is no such group. */
export async function setGroupSettings(
  catalog: Catalog,
  name: string,
  settings: Partial<GroupSettings>,
): Promise<boolean> {
  const { numUpdatedRows } = await catalog
    .updateTable('optimizer_group')
    .set({ settings: sql`settings || ${JSON.stringify(settings)}::jsonb` })
    .where('name', '=', name)
    .executeTakeFirst();
  return numUpdatedRows > 0n;
}

/**
 * Makes a keeper the one that requests for its group: what another one decided before this is not allocated any more, and
 * what was allocated before this is seen by whoever looks after it. A late cycle of a terminated keeper and its successor's
 * ask for no capacity twice.
 */
export async function takeGroup(catalog: Catalog, group: string, keeper: string): Promise<void> {
  await catalog
    .updateTable('optimizer_group')
    .set({ keeper })
    .where('name', '=', group)
    .where('keeper', 'is distinct from', keeper)
    .execute();
}

/** Takes away the rows of optimizers that have been silent for longer than the time-out; their tokens. */
export async function expireOptimizers(
  catalog: Catalog,
  group: string,
): Promise<{ readonly resourceId: string }[]> {
  return catalog
    .deleteFrom('optimizer')
    .where('group_name', '=', group)
    .where((expression) => expression.not(optimizerIsAlive()))
    .returning('resource_id as resourceId')
    .execute();
}

/** The optimizers of the group whose heartbeats come. */
export async function liveOptimizers(catalog: Catalog, group: string): Promise<LiveOptimizer[]> {
  return catalog
    .selectFrom('optimizer')
    .select([
      'resource_id as resourceId',
      'threads',
      sql<number>`(extract(epoch FROM clock_timestamp() - registered_at) * 1000)::bigint`.as('aliveMs'),
    ])
    .where('group_name', '=', group)
    .where(optimizerIsAlive())
    .execute();
}

/** What a cycle of the keeper decides on, by the catalog's clock. */
export async function viewGroup(
  catalog: Catalog,
  group: string,
  { container, settings }: Pick<KeptGroup, 'container' | 'settings'>,
  containers: Containers,
): Promise<KeepingView> {
  const rows = await resourcesOf(catalog, group);
  const optimizers = await liveOptimizers(catalog, group);
  const { rows: clock } = await sql<{
    nowMs: number;
  }>`SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS "nowMs"`.execute(catalog);
  const resources = rows.map((row) => keptResource(row, containers));
  const canRequest = containers.get(container)?.startsOptimizers === true;
  return { nowMs: clock[0]!.nowMs, settings, resources, optimizers, canRequest };
}

/** A resource as rules see it. */
export function keptResource(row: ResourceRow, containers: Containers): KeptResource {
  const container = containers.get(row.container);
  return {
    resourceId: row.resource_id,
    threads: row.threads,
    launch: row.epoch,
    everRegistered: row.registered_launch > 0,
    releasing: row.state === 'RELEASING',
    container: container === undefined ? 'UNKNOWN' : container.supportsAutoRestart ? 'RESTARTS' : 'OPTS_OUT',
  };
}
