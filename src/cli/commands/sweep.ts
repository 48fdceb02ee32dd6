import { readFile } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import type { JobSweepResult, StewardClient, SweepResult } from '../../client/index.js';
import { counted } from '../../rules/counted.js';
import { withClient } from '../connection.js';
import type {
  DrainPlanDocument,
  OperationEndDocument,
  SweepEndDocument,
  SweepPlanDocument,
} from '../documents.js';
import { UsageError } from '../failure.js';
import { duration, example, type WaitingOptions, waits } from '../options.js';
import { listing } from '../render.js';
import { print } from '../terminal.js';
import { operationEnd, waitFor } from '../wait.js';
import { lookAgain } from '../words.js';

interface SweepOptions extends WaitingOptions {
  readonly mode: 'observe' | 'repair';
  /** Milliseconds. */
  readonly grace: number;
}

const GRACE = '5m';

/** `steward sweep` */
export function addSweepCommands(program: Command): void {
  const sweep = program
    .command('sweep')
    .description('what nodes hold against what the catalog says; a schedule runs it as well');

  example(
    waits(
      sweep
        .command('run')
        .description('compare every node with the catalog now, and drive on claims whose workflow is gone')
        .addOption(
          new Option('--mode <mode>', 'observe reports, repair mends')
            .choices(['observe', 'repair'])
            .default('observe'),
        )
        .addOption(
          new Option('--grace <duration>', 'what differs for a shorter time is left alone')
            .argParser(duration)
            .default(300_000, GRACE),
        ),
    ).action((options: SweepOptions) => withClient(options, (client) => run(client, options))),
    'steward sweep run',
    'steward sweep run --mode repair --grace 0s',
  );

  example(
    waits(
      sweep
        .command('drain-legacy-queue')
        .description('take on the region-maintain tasks that an older control plane had queued')
        .argument('<file>', 'NDJSON: {id, type: CREATE|DELETE, database, groupId, nodeId} on each line'),
    ).action((file: string, options: WaitingOptions) =>
      withClient(options, (client) => drain(client, file, options)),
    ),
    'steward sweep drain-legacy-queue tasks.ndjson --dry-run',
  );
}

async function run(client: StewardClient, options: SweepOptions): Promise<void> {
  const { mode, grace } = options;
  if (options.dryRun) {
    print<SweepPlanDocument>(options, { dryRun: true, plan: { mode, gracePeriodMs: grace } }, () =>
      mode === 'repair'
        ? 'would delete leaked regions, end stray optimizers and recreate missing replicas; see which with: steward sweep run'
        : 'would compare every node with the catalog, and change no node',
    );
    return;
  }
  const starting = client.sweeps.run({ mode, gracePeriodMs: grace });
  const startingJobs = client.jobs.sweep();
  const [waited, waitedJobs] = await Promise.all([
    waitFor(`sweeping (${mode})`, starting, options),
    waitFor('sweeping jobs', startingJobs, options),
  ]);
  const [handle, jobs] = [await starting, await startingJobs];
  const document = { operation: operationEnd(handle, waited), jobs: operationEnd(jobs, waitedJobs) };
  print<SweepEndDocument>(options, document, () =>
    [
      waited.outcome === 'DONE' ? sweepText(waited.result) : startedText(handle.operationId),
      ...(waitedJobs.outcome === 'DONE' ? jobSweepLines(waitedJobs.result) : [startedText(jobs.operationId)]),
    ].join('\n'),
  );
}

/** Nothing when there was nothing to do. */
function jobSweepLines({ drivenOn, purges, cancels }: JobSweepResult): string[] {
  return [
    ...drivenOn.map((id) => `its workflow was gone, driven on: ${id}`),
    ...purges.map((id) => `an overdue tombstone without a purge, started: ${id}`),
    ...(cancels.confirmed > 0
      ? [`${counted(cancels.confirmed, 'owed cancel')} confirmed by nodes that came back`]
      : []),
    ...(cancels.owed > 0 ? [`${counted(cancels.owed, 'cancel')} of task groups still owed by nodes`] : []),
  ];
}

async function drain(client: StewardClient, file: string, options: WaitingOptions): Promise<void> {
  const entries = await readEntries(file);
  if (options.dryRun) {
    const { planDrain } = await import('../../rules/legacy-queue.js');
    const plan = planDrain(entries);
    print<DrainPlanDocument>(options, { dryRun: true, plan }, () =>
      [
        `would look at ${entries.length === 1 ? '1 entry' : `${entries.length} entries`}:`,
        ...plan.deletions.map(
          ({ nodeId, groupIds }) => `  delete on ${nodeId}, unless listed: ${groupIds.join(', ')}`,
        ),
        ...(plan.creations.length > 0
          ? [`  recreate, if they lack a replica: ${plan.creations.join(', ')}`]
          : []),
        ...plan.unreadable.map(({ at, problem }) => `  not a task: ${at}: ${problem}`),
      ].join('\n'),
    );
    return;
  }
  const starting = client.sweeps.drainLegacyQueue(entries);
  const waited = await waitFor('draining the legacy queue', starting, options);
  const handle = await starting;
  print<OperationEndDocument>(options, { operation: operationEnd(handle, waited) }, () => {
    if (waited.outcome !== 'DONE') return startedText(handle.operationId);
    const { deleted, gone, recreated, complete, repeated, warned, warnings } = waited.result;
    return [
      `${entries.length} entries: ${deleted} deleted, ${gone} gone already, ${recreated} being recreated, ` +
        `${complete} complete already, ${repeated} repeated, ${warned} left alone`,
      ...warnings.map((warning) => `  WARN ${warning}`),
    ].join('\n');
  });
}

/** The objects of an NDJSON file; a line that is no JSON stands as the text it is, and is accounted for as such. */
async function readEntries(file: string): Promise<unknown[]> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new UsageError(`${file} cannot be read: ${error.code ?? error.message}`);
  });
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  if (lines.length === 0) throw new UsageError(`${file} has no entries`);
  return lines.map((line) => {
    try {
      return JSON.parse(line) as unknown;
    } catch {
      return line;
    }
  });
}

/** A sweep's result, as a table of nodes and what was done. */
export function sweepText(result: SweepResult): string {
  const { mode, nodes, lacking, removed, released = 0, recreations, drivenOn } = result;
  const table = listing(
    [
      { title: 'NODE' },
      { title: 'REGIONS', align: 'right' },
      { title: 'LEAKED', align: 'right' },
      { title: 'MISSING', align: 'right' },
      { title: '' },
    ],
    nodes.map(({ nodeId, regions, leaked, leakedTotal, missing, missingTotal, strays = [], unreachable }) => [
      nodeId,
      regions,
      leakedTotal,
      missingTotal,
      unreachable ??
        [
          ...some('leaked', leaked),
          ...some('missing', missing),
          ...some(
            'stray optimizers',
            strays.map(({ resourceId }) => resourceId),
          ),
        ].join('; '),
    ]),
    'no nodes',
  );
  const done = [
    ...(lacking.length > 0 ? [`region groups that lack replicas: ${lacking.join(', ')}`] : []),
    ...(removed > 0 ? [`removed ${counted(removed, 'leaked region')}`] : []),
    ...(released > 0 ? [`ended ${counted(released, 'stray optimizer')}`] : []),
    ...recreations.map((id) => `started ${id}; look at it with: ${lookAgain(id)}`),
    ...drivenOn.map((id) => `its workflow was gone, driven on: ${id}`),
  ];
  const differs =
    nodes.some(
      ({ leakedTotal, missingTotal, straysTotal = 0 }) => leakedTotal + missingTotal + straysTotal > 0,
    ) || lacking.length > 0;
  const next = mode === 'observe' && differs ? ['mend it with: steward sweep run --mode repair'] : [];
  return [table, ...done, ...next].join('\n');
}

const SHOWN = 5;

function some(what: string, ids: readonly (number | string)[]): string[] {
  if (ids.length === 0) return [];
  return [`${what}: ${ids.slice(0, SHOWN).join(', ')}${ids.length > SHOWN ? ', ...' : ''}`];
}

function startedText(operationId: string): string {
  return `started ${operationId}; look at it with: ${lookAgain(operationId)}`;
}
