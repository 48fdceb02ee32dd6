import type { Command } from 'commander';
import type { NodeDifferences } from '../../setup/after-restore.js';
import type { SetUp } from '../../setup/setup.js';
import type { SetupDocument } from '../documents.js';
import { example, type OutputOptions, outputs } from '../options.js';
import { listing } from '../render.js';
import { print, printLine } from '../terminal.js';

interface SetupOptions extends OutputOptions {
  readonly afterRestore?: boolean;
}

/** `steward setup` */
export function addSetupCommand(program: Command): void {
  example(
    outputs(
      program
        .command('setup')
        .description(
          'prepare Temporal (TEMPORAL_ADDRESS, profile) and the catalog (DATABASE_URL): search attributes, schedules, migrations',
        )
        .option(
          '--after-restore',
          'the catalog was restored from a backup: lift it above what the nodes know, and tell what differs',
        ),
    ).action(setup),
    'steward setup',
    'steward setup --after-restore --json',
  );
}

async function setup(options: SetupOptions): Promise<void> {
  const { setUp } = await import('../../setup/setup.js');
  const made = await setUp({ afterRestore: options.afterRestore === true });
  print<SetupDocument>(options, made, () => [...madeLines(made), ...restoredLines(made)].join('\n'));
  const silent = made.restored?.nodes.filter(({ unreachable }) => unreachable !== undefined) ?? [];
  if (silent.length === 0) return;
  process.exitCode = 1;
  printLine(
    `steward: not asked: ${silent.map(({ unreachable }) => unreachable).join('; ')}: run it again when they answer`,
  );
}

function madeLines({ migrations, searchAttributes, schedules }: SetUp): string[] {
  const made = [
    ...migrations.map((name) => `migrated the catalog: ${name}`),
    ...searchAttributes.map((name) => `added search attribute ${name}`),
    ...schedules.map((id) => `made schedule ${id}`),
  ];
  return made.length === 0 ? ['search attributes, schedules and catalog are as they should be'] : made;
}

function restoredLines({ restored }: SetUp): string[] {
  if (restored === undefined) return [];
  const { epochs, regionGroupIds, claimsRenewed, launchesLifted, jobsBehind, jobsPaused } = restored;
  const { nodes, paused, terminated } = restored;
  const lifted = (what: string, { was, is }: { was: number; is: number }) =>
    was === is ? `${what}: not behind, at ${is}` : `${what}: lifted from ${was} to ${is}`;
  return [
    lifted('epochs', epochs),
    lifted('region group ids', regionGroupIds),
    ...some('claims with a new epoch: region groups', claimsRenewed),
    ...some('optimizers with a lifted launch:', launchesLifted),
    ...some('jobs that no node follows any more; cancel them, and start them again:', jobsBehind),
    ...jobsPaused.map(
      (id) =>
        `paused job ${id}, which runs on where it runs: steward operation resume job/${id} when you have looked`,
    ),
    ...some('terminated:', terminated),
    ...paused.map((id) => `paused ${id}: steward schedule resume ${id} when you have looked`),
    '',
    listing(
      [{ title: 'NODE' }, { title: 'ONLY ON THE NODE' }, { title: 'ONLY IN THE CATALOG' }],
      nodes.map((node) => [node.nodeId, ...difference(node)]),
      'no nodes',
    ),
  ];
}

function difference({ onlyOnNode, onlyInCatalog, unreachable }: NodeDifferences): [string, string] {
  return unreachable === undefined ? [onlyOnNode.join(' '), onlyInCatalog.join(' ')] : ['not asked', ''];
}

function some(what: string, ids: readonly (string | number)[]): string[] {
  return ids.length === 0 ? [] : [`${what} ${ids.join(', ')}`];
}
