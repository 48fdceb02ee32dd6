import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Steward } from '../support/steward.js';

/** What a node's disk has besides whole regions: regions that are being made, and what is left of those being deleted. */
export function unfinishedOnDisk(steward: Steward, nodeId: string): string[] {
  const data = steward.nodeDirectory(nodeId);
  const trash = entries(join(data, 'trash')).flatMap((catalog) =>
    entries(join(data, 'trash', catalog)).map((group) => `trash/${group}`),
  );
  const staging = entries(join(data, 'staging')).map((name) => `staging/${name.split('.')[1]}`);
  return [...trash, ...staging].sort();
}

/** Whether the node's disk has anything of any region, whole or not. */
export function isAnythingOnDisk(steward: Steward, nodeId: string): boolean {
  return steward.regionsOnDisk(nodeId).length > 0 || unfinishedOnDisk(steward, nodeId).length > 0;
}

/**
 * Where catalog and disks do not say exactly the same, and what is left of operations although none runs; for a Steward at
 * rest. Looks at the disks themselves and asks no node.
 */
export async function disagreements(steward: Steward): Promise<string[]> {
  const { catalog } = steward;
  const replicas = await catalog.selectFrom('replica').select(['group_id', 'node_id', 'state']).execute();
  const found = replicas
    .filter(({ state }) => state !== 'RUNNING')
    .map(({ group_id, node_id, state }) => `catalog: replica of ${group_id} on ${node_id} is ${state}`);
  for (const { name: nodeId } of steward.nodes) {
    const listed = replicas.filter(({ node_id }) => node_id === nodeId).map(({ group_id }) => group_id);
    const held = steward.regionsOnDisk(nodeId);
    found.push(
      ...held.filter((id) => !listed.includes(id)).map((id) => `${nodeId}: region ${id} is leaked`),
      ...listed.filter((id) => !held.includes(id)).map((id) => `${nodeId}: region ${id} is missing`),
      ...unfinishedOnDisk(steward, nodeId).map((what) => `${nodeId}: ${what} is left`),
    );
  }
  const groups = await catalog
    .selectFrom('region_group')
    .select(['group_id', 'state', 'holder_id'])
    .execute();
  const databases = await catalog.selectFrom('database').select(['name', 'state', 'holder_id']).execute();
  found.push(
    ...groups
      .filter(({ state, holder_id }) => state !== 'RUNNING' || holder_id !== null)
      .map(({ group_id, state }) => `catalog: region group ${group_id} is ${state}, or held`),
    ...groups
      .filter(({ group_id }) => !replicas.some((replica) => replica.group_id === group_id))
      .map(({ group_id }) => `catalog: region group ${group_id} has no replica`),
    ...databases
      .filter(({ state, holder_id }) => state !== 'ACTIVE' || holder_id !== null)
      .map(({ name, state }) => `catalog: database ${name} is ${state}, or held`),
  );
  return found;
}

/** Operations of a verb that a node ran to an end more than once. */
export function ranTwice(steward: Steward, nodeId: string, verb: string): string[] {
  const seen = new Set<string>();
  return steward.effects(nodeId, verb).filter((id) => seen.size === seen.add(id).size);
}

function entries(directory: string): string[] {
  return existsSync(directory) ? readdirSync(directory) : [];
}
