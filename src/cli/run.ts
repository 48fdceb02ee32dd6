import { Command } from 'commander';
import { version } from '../version.js';
import { addCompletionCommand } from './commands/completion.js';
import { addConformanceCommand } from './commands/conformance.js';
import { addDatabaseCommands } from './commands/database.js';
import { addDoctorCommand } from './commands/doctor.js';
import { addHealCommands } from './commands/heal.js';
import { addJobCommands } from './commands/job.js';
import { addLocalCommands } from './commands/local.js';
import { addNodeCommands } from './commands/node.js';
import { addOperationCommands } from './commands/operation.js';
import { addOptimizerGroupCommands } from './commands/optimizer-group.js';
import { addRegionGroupCommands } from './commands/region-group.js';
import { addScheduleCommands } from './commands/schedule.js';
import { addSetupCommand } from './commands/setup.js';
import { addSweepCommands } from './commands/sweep.js';
import { addTableCommands } from './commands/table.js';
import { addTopCommand } from './commands/top.js';
import { addWorkerCommands } from './commands/worker.js';
import { EXIT_CODES, failureOf, reportFailure } from './failure.js';
import { nameCommand } from './traced-command.js';

/**
 * Runs a command line and answers the exit code: 0 done; 1 failed; 2 bad usage or input; 3 refused, held by another;
 * 4 given up waiting, while the operation goes on. A failure is one line on stderr, and with `--json` the document
 * `{ "error": { "code", "message", ... } }` on stdout as well.
 */
export async function runSteward(args: readonly string[]): Promise<number> {
  try {
    await stewardProgram().parseAsync(args, { from: 'user' });
    return Number(process.exitCode ?? 0);
  } catch (error) {
    const failure = await failureOf(error);
    if (failure === 'help') return 0;
    reportFailure(failure, { json: args.includes('--json') });
    return failure.exitCode;
  }
}

/** The whole command line. What a command needs is imported when it runs, so that help is there at once. */
export function stewardProgram(): Command {
  const program = new Command('steward')
    .description(
      'A durable control plane for distributed data engines: regions, optimizing and its heal, optimizers, jobs.',
    )
    .version(version(), '--version')
    .helpOption('-h, --help', 'show help')
    .helpCommand(false)
    .exitOverride()
    .showSuggestionAfterError()
    .hook('preAction', (_, command) => nameCommand(command))
    // The message comes once, from `reportFailure`.
    .configureOutput({ outputError: () => {} })
    .addHelpText(
      'after',
      `
Exit codes:
  ${EXIT_CODES.map(([code, meaning]) => `${code}  ${meaning}`).join('\n  ')}

With --json a command prints one document, described in docs/cli.md; one that failed
prints { "error": { "code", "message", ... } }.

Examples:
  $ steward local start --detach
  $ steward database create sales --data-groups 4 --schema-groups 1
  $ steward region-group list --database sales
  $ steward region-group remove 3
  $ steward operation list`,
    );
  addLocalCommands(program);
  addDatabaseCommands(program);
  addRegionGroupCommands(program);
  addNodeCommands(program);
  addOperationCommands(program);
  addOptimizerGroupCommands(program);
  addSweepCommands(program);
  addTableCommands(program);
  addHealCommands(program);
  addJobCommands(program);
  addScheduleCommands(program);
  addSetupCommand(program);
  addWorkerCommands(program);
  addConformanceCommand(program);
  addDoctorCommand(program);
  addTopCommand(program);
  addCompletionCommand(program);
  for (const command of program.commands) command.helpCommand(false);
  return program;
}
