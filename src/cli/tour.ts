import { setTimeout as sleep } from 'node:timers/promises';
import type { RegionGroup, StewardClient } from '../client/index.js';
import type { RunningStack } from '../local/commands.js';
import { sweepText } from './commands/sweep.js';
import { connectStack } from './connection.js';
import { type InitialGroups, startInitialGroups } from './initial-groups.js';
import { jobTour } from './job-tour.js';
import { optimizerTour } from './optimizer-tour.js';
import { regionGroupTable } from './render.js';
import { tableTour } from './table-tour.js';

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
    const groups = (await findGroups(client)) ?? (await makeDatabase(client, say));
    const optimizers = await optimizerTour(client, say);
    const table = await tableTour(client, say);
    const job = await jobTour(client, say);
    const lines = [
      regionGroupTable(groups),
      '',
      await lastSweep(client),
      '',
      optimizers,
      '',
      table,
      '',
      job,
      '',
      ...nextSteps(groups),
      '',
    ];
    for (const line of ['', ...lines.join('\n').split('\n')]) say(line);
  } finally {
    await client.close();
  }
}

/** What the last sweep found; the first one of a fresh stack is asked for here, later ones come by schedule. */
async function lastSweep(client: StewardClient): Promise<string> {
  const last = (await client.sweeps.last()) ?? {
    endedAt: new Date().toISOString(),
    result: await (await client.sweeps.run()).result(),
  };
  return `The last sweep (${last.result.mode}, ${last.endedAt}), every 5 minutes by schedule:\n${sweepText(last.result)}`;
}

/** Of the database, when it is there and has any: a tour that was interrupted goes on. */
async function findGroups(client: StewardClient): Promise<RegionGroup[] | undefined> {
  if (!(await hasDatabase(client))) return undefined;
  const groups = await client.regionGroups.list({ database: DATABASE });
  return groups.length > 0 ? groups : undefined;
}

async function makeDatabase(client: StewardClient, say: (line: string) => void): Promise<RegionGroup[]> {
  await nodesAlive(client);
  const { dataGroups, schemaGroups, replicationFactor } = INITIAL;
  say(
    `making database ${DATABASE}: ${dataGroups} DATA and ${schemaGroups} SCHEMA region groups of ${replicationFactor} replicas`,
  );
  if (!(await hasDatabase(client))) await client.databases.create({ name: DATABASE });
  for (const { handle } of await startInitialGroups(client, DATABASE, INITIAL)) await handle.result();
  return client.regionGroups.list({ database: DATABASE });
}

function nextSteps(groups: readonly RegionGroup[]): string[] {
  return [
    'Try next, in another terminal:',
    `  npx steward region-group create ${DATABASE} --kind data --groups 2`,
    '  npx steward node fault node-1 --effect delete-region --delay 20s --times 1',
    ...groups.slice(0, 1).map(({ groupId }) => `  npx steward region-group remove ${groupId}`),
    '  npx steward table show events',
    '  npx steward job submit examples/jobs/clicks.yaml',
    '  npx steward optimizer-group show default',
    '  npx steward operation list --all',
    '  npx steward --help',
  ];
}

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
