import type { Command } from 'commander';
import type { StewardClient } from '../../client/index.js';
import { confirm, type DestroyingOptions, destroys } from '../confirm.js';
import { withClient } from '../connection.js';
import type {
  Incomplete,
  OperationCancelDocument,
  OperationDocument,
  OperationPauseDocument,
  OperationsDocument,
} from '../documents.js';
import { UsageError } from '../failure.js';
import { type ChangeOptions, type ConnectionOptions, changes, connects, example } from '../options.js';
import { operationTable, operationText, pauseText, runningText } from '../render.js';
import { print, printLine } from '../terminal.js';
import { lookAgain } from '../words.js';

/** `steward operation` */
export function addOperationCommands(program: Command): void {
  const operation = program.command('operation').description('what is being done: workflows of Steward');

  example(
    connects(operation.command('list').description('operations that run, the newest first'))
      .option('--all', 'also those that ended; of what schedules started only what did not go well')
      .option('--actor <name>', 'only those that this one started; "schedule" is one, too')
      .action((options: ConnectionOptions & { readonly all?: boolean }) =>
        withClient(options, async (client) => {
          const { all, actor } = options;
          const problems: string[] = [];
          const onProblem = (problem: string) => problems.push(problem);
          const operations = await client.operations.list({ running: all !== true, actor, onProblem });
          const nothing = options.all
            ? 'no operations'
            : 'nothing runs; see also: steward operation list --all';
          const table = () => operationTable(operations, nothing);
          const { LISTED } = await import('../../client/operations.js');
          print<OperationsDocument>(options, { operations, ...told(problems) }, () =>
            operations.length < LISTED ? table() : `${table()}\nthese are the newest ${LISTED}`,
          );
        }),
      ),
    'steward operation list --all',
    'steward operation list --actor ann@laptop',
  );

  example(
    connects(
      operation.command('show').description('one operation: progress, what it waits for, what blocks it'),
    )
      .argument('<id>', 'its id, as it was printed at the start or by "operation list"')
      .action((id: string, options: ConnectionOptions) =>
        withClient(options, async (client) => {
          const problems: string[] = [];
          const onProblem = (problem: string) => problems.push(problem);
          const found = await client.operations.get(id, { onProblem });
          print<OperationDocument>(options, { operation: found, ...told(problems) }, () =>
            operationText(found),
          );
        }),
      ),
    'steward operation show region-group/3/remove',
  );

  example(
    destroys(
      changes(
        operation.command('cancel').description('end an operation early, as long as that is possible'),
      ).argument('<id>', 'its id'),
    ).action((id: string, options: ChangeOptions & DestroyingOptions) =>
      withClient(options, async (client) => {
        if (options.dryRun) {
          const found = await client.operations.get(id);
          print<OperationCancelDocument>(options, { dryRun: true, plan: { operation: found } }, () =>
            ['would ask this operation to end:', operationText(found)].join('\n'),
          );
          return;
        }
        await confirm(options, async () => {
          const found = await client.operations.get(id, { brief: true });
          return found.closedAt === undefined ? `end ${id} early (${runningText(found)})` : undefined;
        });
        await client.operations.cancel(id);
        print<OperationCancelDocument>(
          options,
          { operationId: id, outcome: 'CANCELED' },
          () => `${id} was cancelled; see what became of it with: ${lookAgain(id)}`,
        );
      }),
    ),
    'steward operation cancel database/sales/create/monday',
  );
  example(
    changes(
      operation
        .command('pause')
        .description('submit nothing new to nodes until it is resumed; what runs there goes on'),
    )
      .argument('[id]', 'its id')
      .option('--all', 'every operation, and heals, planning, keepers and starts of jobs as well')
      .requiredOption('--reason <text>', 'for whoever finds it paused')
      .action((id: string | undefined, options: PauseOptions & { readonly reason: string }) =>
        pause(id, options, 'pause', (client, which) => client.operations.pause(which, options.reason)),
      ),
    'steward operation pause region-group/3/remove --reason "node-2 gets a new disk"',
    'steward operation pause --all --reason "network works until 4 a.m."',
  );

  example(
    changes(operation.command('resume').description('let what is paused go on'))
      .argument('[id]', 'its id')
      .option('--all', 'what was paused with --all')
      .action((id: string | undefined, options: PauseOptions) =>
        pause(id, options, 'resume', (client, which) => client.operations.resume(which)),
      ),
    'steward operation resume region-group/3/remove',
    'steward operation resume --all',
  );
}

/** Told on stderr, and stands in the document when there is something to tell. */
function told(problems: readonly string[]): Incomplete {
  for (const problem of problems) printLine(`cannot be shown: ${problem}`);
  return problems.length === 0 ? {} : { problems };
}

interface PauseOptions extends ChangeOptions {
  readonly all?: boolean;
}

async function pause(
  id: string | undefined,
  options: PauseOptions,
  action: 'pause' | 'resume',
  apply: (client: StewardClient, id: string | undefined) => Promise<void>,
): Promise<void> {
  if ((id === undefined) === (options.all !== true)) {
    throw new UsageError('give the id of an operation, or --all');
  }
  await withClient(options, async (client) => {
    if (!options.dryRun) await apply(client, id);
    const pauses = await client.operations.pauses();
    const document = { action, ...(id !== undefined && { operationId: id }), pauses };
    print<OperationPauseDocument>(
      options,
      options.dryRun ? { dryRun: true, plan: document } : document,
      () => {
        const done = `${action}d ${id ?? 'everything'}`;
        return [options.dryRun ? `would have ${done}` : done, ...pauses.map(pauseText)].join('\n');
      },
    );
  });
}
