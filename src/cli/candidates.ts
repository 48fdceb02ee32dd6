import type { StewardClient } from '../client/index.js';

/** What a shell completes an argument with: the ids of a running Steward. */

export const NOUNS = [
  'database',
  'region-group',
  'node',
  'operation',
  'running-operation',
  'optimizer-group',
  'resource',
  'table',
  'job',
  'running-job',
  'schedule',
  'build',
] as const;
export type Noun = (typeof NOUNS)[number];

/** What the arguments of a command name, one after the other; those that name something new, or a file, are `undefined`. */
export const ARGUMENTS: Readonly<Record<string, readonly (Noun | undefined)[]>> = {
  'database delete': ['database'],
  'database show': ['database'],
  'region-group create': ['database'],
  'region-group remove': ['region-group'],
  'region-group recreate': ['region-group'],
  'region-group forget-replica': ['region-group'],
  'region-group show': ['region-group'],
  'node show': ['node'],
  'node limit': ['node'],
  'node fault': ['node'],
  'node kill': ['node'],
  'node pause': ['node'],
  'node resume': ['node'],
  'operation show': ['operation'],
  'operation cancel': ['running-operation'],
  'operation pause': ['running-operation'],
  'operation resume': ['running-operation'],
  'optimizer-group show': ['optimizer-group'],
  'optimizer-group scale': ['optimizer-group'],
  'optimizer-group pause': ['optimizer-group'],
  'optimizer-group resume': ['optimizer-group'],
  'optimizer-group restart-now': ['optimizer-group', 'resource'],
  'optimizer-group reset': ['optimizer-group'],
  'optimizer-group forget-resource': ['optimizer-group', 'resource'],
  'table ingest': ['table', undefined],
  'table optimize': ['table'],
  'table show': ['table'],
  'job show': ['job'],
  'job wait': ['running-job'],
  'job cancel': ['running-job'],
  'schedule show': ['schedule'],
  'schedule pause': ['schedule'],
  'schedule resume': ['schedule'],
  'schedule trigger': ['schedule'],
  'worker make-current': ['build'],
  'worker ramp': ['build', undefined],
};

/** Of every command that has them. */
export const OPTIONS: Readonly<Record<string, Noun>> = {
  '--database': 'database',
  '--node': 'node',
  '--table': 'table',
  '--group': 'optimizer-group',
};

/** Most of one noun: nobody picks from more. */
const MOST = 1_000;
/** What no shell has to quote, and none breaks in two. */
const PLAIN = /^[\w./@+-]+$/;

/** The ids that there are of a noun, as they can be typed. Throws as the client does. */
export async function candidates(client: StewardClient, noun: Noun): Promise<string[]> {
  const ids = await idsOf(client, noun);
  return [...new Set(ids.map(String))].filter((id) => PLAIN.test(id)).slice(0, MOST);
}

async function idsOf(client: StewardClient, noun: Noun): Promise<readonly (string | number)[]> {
  switch (noun) {
    case 'database':
      return (await client.databases.list()).map(({ name }) => name);
    case 'region-group':
      return (await client.regionGroups.list()).map(({ groupId }) => groupId);
    case 'node':
      return (await client.nodes.list()).map(({ nodeId }) => nodeId);
    case 'operation': {
      // What runs may be older than the newest of all.
      const listed = await Promise.all([
        client.operations.list({ running: true }),
        client.operations.list({ running: false }),
      ]);
      return listed.flat().map(({ operationId }) => operationId);
    }
    case 'running-operation':
      return (await client.operations.list({ running: true })).map(({ operationId }) => operationId);
    case 'optimizer-group':
      return (await client.optimizerGroups.list()).map(({ name }) => name);
    case 'resource':
      return (await client.optimizerGroups.list()).flatMap(({ resources }) =>
        resources.map(({ resourceId }) => resourceId),
      );
    case 'table':
      return (await client.tables.list()).map(({ name }) => name);
    case 'job':
    case 'running-job':
      return (await client.jobs.list({ running: noun === 'running-job' })).map(({ jobId }) => jobId);
    case 'schedule':
      return (await client.schedules.list()).map(({ scheduleId }) => scheduleId);
    case 'build':
      return (await client.workers.builds()).builds.map(({ buildId }) => buildId);
  }
}
