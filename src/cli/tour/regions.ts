import type { RegionGroup, StewardClient } from '../../client/index.js';
import { counted } from '../../rules/counted.js';
import { formatDuration } from '../duration.js';
import { type InitialGroups, startInitialGroups } from '../initial-groups.js';
import { regionGroupTable } from '../render.js';
import { type Part, type Tour, until } from './part.js';

const DATABASE = 'demo';
const INITIAL: InitialGroups = { dataGroups: 4, schemaGroups: 1, replicationFactor: 3 };
const SLOW_NODE = 'node-1';
const SLOW_BY_MS = 3_000;
const NODES_WITHIN_MS = 30_000;

/** Whether an earlier tour has come as far as the region groups. */
export async function hasRegionGroups(client: StewardClient): Promise<boolean> {
  return (await groupsOf(client)).length > 0;
}

/**
 * A database with region groups on the three nodes, one more that is created and removed while a node is slow, and what
 * the sweep finds. A stack that has the database already only shows it; a tour that was interrupted goes on.
 */
export async function regionTour(tour: Tour): Promise<Part> {
  const { client } = tour;
  const happened: string[] = [];
  if (!(await hasRegionGroups(client))) {
    happened.push(await makeDatabase(tour), await removeOne(tour));
  }
  const { nodes, endedAt } = await lastSweep(client);
  const [leaked, missing] = [sum(nodes, 'leakedTotal'), sum(nodes, 'missingTotal')];
  happened.push(
    `the sweep of ${endedAt} compared ${counted(nodes.length, 'node')} with the catalog: ${leaked} leaked, ${missing} missing`,
  );
  return {
    title: 'REGIONS',
    happened,
    state: regionGroupTable(await groupsOf(client)),
    look: ['steward operation list --all', 'steward sweep run'],
  };
}

async function makeDatabase({ client, say }: Tour): Promise<string> {
  const { dataGroups, schemaGroups, replicationFactor } = INITIAL;
  await until(
    `${replicationFactor} nodes are alive: see steward local status`,
    async () => (await client.nodes.list()).filter(({ alive }) => alive).length >= replicationFactor,
    NODES_WITHIN_MS,
  );
  const what = `${dataGroups} DATA and ${schemaGroups} SCHEMA region groups of ${replicationFactor} replicas`;
  say(`making database ${DATABASE}: ${what}`);
  if (!(await client.databases.list()).some(({ name }) => name === DATABASE)) {
    await client.databases.create({ name: DATABASE });
  }
  for (const { handle } of await startInitialGroups(client, DATABASE, INITIAL)) await handle.result();
  return `made database ${DATABASE} with ${what}`;
}

/** Creates a region group and removes it, while one node takes its time: the removal ends with the last region. */
async function removeOne({ client, say }: Tour): Promise<string> {
  const before = new Set((await groupsOf(client)).map(({ groupId }) => groupId));
  const creation = await client.regionGroups.create({
    database: DATABASE,
    kind: 'DATA',
    groups: 1,
    replicationFactor: INITIAL.replicationFactor,
  });
  await creation.result();
  const { groupId } = (await groupsOf(client)).find((one) => !before.has(one.groupId))!;
  say(`removing region group ${groupId}, which ${SLOW_NODE} makes slow`);
  const faults = await client.nodes.faults(SLOW_NODE);
  await faults.set({
    target: 'delete-region',
    kind: 'DELAY',
    delayMs: SLOW_BY_MS,
    match: `/${groupId}/`,
    times: 1,
  });
  const started = performance.now();
  await (await client.regionGroups.remove({ groups: [groupId] })).result();
  const took = formatDuration(performance.now() - started);
  return (
    `created region group ${groupId} and removed it; ${SLOW_NODE} was made to take ${formatDuration(SLOW_BY_MS)} ` +
    `for its region, so the removal ended after ${took}, when the last region was gone`
  );
}

async function groupsOf(client: StewardClient): Promise<RegionGroup[]> {
  if (!(await client.databases.list()).some(({ name }) => name === DATABASE)) return [];
  return client.regionGroups.list({ database: DATABASE });
}

/** The first one of a fresh stack is asked for here, later ones come by schedule. */
async function lastSweep(client: StewardClient) {
  const last = await client.sweeps.last();
  if (last !== undefined) return { endedAt: last.endedAt, nodes: last.result.nodes };
  const { nodes } = await (await client.sweeps.run()).result();
  return { endedAt: new Date().toISOString(), nodes };
}

function sum<K extends string>(rows: readonly Readonly<Record<K, number>>[], key: K): number {
  return rows.reduce((total, row) => total + row[key], 0);
}
