import { setTimeout as sleep } from 'node:timers/promises';
import type { StewardClient } from '../client/index.js';
import type { RunningStack } from '../local/commands.js';
import { connectStack } from './connection.js';
import { type InitialGroups, startInitialGroups } from './initial-groups.js';
import { regionGroupTable } from './render.js';

const DATABASE = 'demo';
const INITIAL: InitialGroups = { dataGroups: 4, schemaGroups: 1, replicationFactor: 3 };
const NODES_WITHIN_MS = 30_000;
const LOOK_EVERY_MS = 200;

/**
 * The first thing that a fresh stack does: a database with region groups on its three nodes, shown as a table. A stack that
 * has it already only shows it.
 */
export async function tour(stack: RunningStack, say: (line: string) => void): Promise<void> {
  const client = await connectStack(stack.addresses);
  try {
    if (!(await hasDatabase(client))) {
      await nodesAlive(client);
      await client.databases.create({ name: DATABASE });
    }
    // Named requests: what was interrupted goes on, what is there is not made again.
    const creations = await startInitialGroups(client, DATABASE, INITIAL);
    if (creations.length > 0) say(`making database ${DATABASE} with 5 region groups of 3 replicas`);
    for (const { handle } of creations) await handle.result();
    const groups = await client.regionGroups.list({ database: DATABASE });
    for (const line of ['', ...regionGroupTable(groups).split('\n'), '', ...NEXT, '']) say(line);
  } finally {
    await client.close();
  }
}

const NEXT = [
  'Try next, in another terminal:',
  '  npx steward region-group create demo --kind data --groups 2',
  '  npx steward node fault node-1 --effect delete-region --delay 20s --times 1',
  '  npx steward region-group remove 1',
  '  npx steward operation list --all',
  '  npx steward --help',
];

async function hasDatabase(client: StewardClient): Promise<boolean> {
  return (await client.databases.list()).some(({ name }) => name === DATABASE);
}

/** The nodes serve before they have registered. */
async function nodesAlive(client: StewardClient): Promise<void> {
  const deadline = performance.now() + NODES_WITHIN_MS;
  for (;;) {
    const alive = (await client.nodes.list()).filter((node) => node.alive).length;
    if (alive >= INITIAL.replicationFactor) return;
    if (performance.now() > deadline) {
      throw new Error(
        `only ${alive} of ${INITIAL.replicationFactor} nodes registered: see steward local status`,
      );
    }
    await sleep(LOOK_EVERY_MS);
  }
}
