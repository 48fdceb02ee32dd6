import type { Command } from 'commander';
import type { LocalStopDocument } from '../documents.js';
import { example, type OutputOptions, outputs, wholeNumber } from '../options.js';
import { print } from '../terminal.js';

const port = wholeNumber(1, 65_535);

interface StartOptions extends OutputOptions {
  readonly detach?: boolean;
  readonly tour?: boolean;
  readonly temporalPort?: number;
  readonly uiPort?: number;
  readonly postgresPort?: number;
  readonly coordinatorPort?: number;
}

/** `steward local` */
export function addLocalCommands(program: Command): void {
  const local = program
    .command('local')
    .description('a whole Steward on this machine: PostgreSQL, Temporal, coordinator, worker, three nodes')
    .addHelpText(
      'after',
      '\nIts data and logs are in $STEWARD_HOME, else in ./.steward, and stay between starts.',
    );

  example(
    outputs(local.command('start').description('start it; in the foreground until Ctrl-C'))
      .option('--detach', 'return when it runs')
      .option('--tour', 'make a first database, and show it')
      .option('--temporal-port <n>', 'port of Temporal', port)
      .option('--ui-port <n>', 'port of the Web UI', port)
      .option('--postgres-port <n>', 'port of PostgreSQL', port)
      .option('--coordinator-port <n>', 'port of the coordinator', port)
      .action(start),
    'steward local start --detach',
  );

  example(
    outputs(local.command('stop').description('stop it in order; the data stay')).action(
      async (options: OutputOptions) => {
        const { stopLocal } = await import('../../local/commands.js');
        const { outcome } = await stopLocal();
        const text = { stopped: 'stopped', 'not-running': 'nothing was running', 'cleaned-up': 'cleaned up' }[
          outcome
        ];
        print<LocalStopDocument>(options, { outcome }, () => text);
      },
    ),
    'steward local stop',
  );

  example(
    outputs(local.command('status').description('what runs, and where')).action(
      async (options: OutputOptions) => {
        const { localStatus, renderStatus } = await import('../../local/commands.js');
        const status = await localStatus();
        print(options, status, () => renderStatus(status).trimEnd());
      },
    ),
    'steward local status --json',
  );
}

async function start(options: StartOptions): Promise<void> {
  const { startLocal } = await import('../../local/commands.js');
  const { temporalPort, uiPort, postgresPort, coordinatorPort } = options;
  await startLocal({
    detach: options.detach === true,
    json: options.json === true,
    ports: {
      ...(temporalPort !== undefined && { temporal: temporalPort }),
      ...(uiPort !== undefined && { ui: uiPort }),
      ...(postgresPort !== undefined && { postgres: postgresPort }),
      ...(coordinatorPort !== undefined && { coordinator: coordinatorPort }),
    },
    ...(options.tour && {
      tour: async (stack, say) => {
        const { tour } = await import('../tour/tour.js');
        await tour(stack, say);
      },
    }),
  });
}
