import { type Command, Option } from 'commander';
import type { Builds } from '../../client/index.js';
import { withClient } from '../connection.js';
import type { BuildsDocument, BuildsPlanDocument } from '../documents.js';
import { formatDuration } from '../duration.js';
import {
  type ChangeOptions,
  type ConnectionOptions,
  changes,
  connects,
  example,
  wholeNumber,
} from '../options.js';
import { listing } from '../render.js';
import { type Cell, paragraph } from '../table.js';
import { colors, print, tableWidth } from '../terminal.js';

interface DeploymentOption {
  readonly deployment?: string;
}

/** `steward worker` */
export function addWorkerCommands(program: Command): void {
  const worker = program
    .command('worker')
    .description(
      'builds of the worker, and which of them Temporal gives work to (STEWARD_WORKER_DEPLOYMENT)',
    );

  example(
    ofDeployment(
      connects(worker.command('list').description('every build, and how many workers of it run')),
    ).action((options: ConnectionOptions & DeploymentOption) =>
      withClient(options, async (client) => {
        const found = await client.workers.builds(options);
        const { deployment, builds } = found;
        const { NO_VERSIONS } = await import('../../client/workers.js');
        print<BuildsDocument>(options, found, () =>
          deployment === undefined
            ? paragraph(NO_VERSIONS, tableWidth())
            : buildTable({ deployment, builds }),
        );
      }),
    ),
    'steward worker list',
  );

  example(
    ofDeployment(
      changes(
        worker.command('make-current').description('give all work to a build: what starts, and what is open'),
      ),
    )
      .argument('<build>', 'as "worker list" shows it')
      .action((build: string, options: ChangeOptions & DeploymentOption) =>
        withClient(options, async (client) => {
          if (options.dryRun)
            return plan(options, await client.workers.buildsWith(build, options), 'make-current', build);
          const builds = await client.workers.makeCurrent(build, options);
          print<BuildsDocument>(options, builds, () =>
            [`${build} is current`, buildTable(builds)].join('\n'),
          );
        }),
      ),
    'steward worker make-current 0.2.0-5f0c2a8d91be',
  );

  example(
    ofDeployment(
      changes(
        worker.command('ramp').description('give a build a share of the work, before it becomes current'),
      ),
    )
      .argument('<build>', 'as "worker list" shows it')
      .argument('<percent>', '0 leaves all work to the current build', wholeNumber(0, 100))
      .action((build: string, percent: number, options: ChangeOptions & DeploymentOption) =>
        withClient(options, async (client) => {
          if (options.dryRun)
            return plan(options, await client.workers.buildsWith(build, options), 'ramp', build);
          const builds = await client.workers.ramp(build, percent, options);
          print<BuildsDocument>(options, builds, () =>
            [`${build} gets ${percent} % of the work`, buildTable(builds)].join('\n'),
          );
        }),
      ),
    'steward worker ramp 0.2.0-5f0c2a8d91be 10',
  );
}

function ofDeployment(command: Command): Command {
  return command.addOption(
    new Option('--deployment <name>', 'of this worker deployment; default: what the workers tell').env(
      'STEWARD_WORKER_DEPLOYMENT',
    ),
  );
}

function plan(
  options: ChangeOptions,
  builds: Required<Builds>,
  action: 'make-current' | 'ramp',
  build: string,
): void {
  print<BuildsPlanDocument>(options, { dryRun: true, plan: { action, build, ...builds } }, () =>
    [`would ${action} ${build}; now:`, buildTable(builds)].join('\n'),
  );
}

function buildTable({ deployment, builds }: Required<Builds>): string {
  return listing(
    [
      { title: 'BUILD' },
      { title: 'STATE' },
      { title: 'WORKERS', align: 'right' },
      { title: 'PINNED', align: 'right' },
      { title: 'FIRST SEEN' },
    ],
    builds.map((build) => [
      build.buildId,
      stateCell(build),
      `${build.workers}`,
      `${build.pinned}`,
      `${formatDuration(Date.now() - Date.parse(build.since))} ago`,
    ]),
    `no builds of ${deployment}`,
  );
}

function stateCell({ state, percentage }: Builds['builds'][number]): Cell {
  const paint = { CURRENT: colors.green, RAMPING: colors.yellow, IDLE: colors.dim } as const;
  return { text: percentage === undefined ? state : `${state} ${percentage} %`, paint: paint[state] };
}
