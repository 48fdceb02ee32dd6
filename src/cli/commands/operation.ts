import type { Command } from 'commander';
import { withClient } from '../connection.js';
import type { OperationCancelDocument, OperationDocument, OperationsDocument } from '../documents.js';
import { type ChangeOptions, type ConnectionOptions, changes, connects, example } from '../options.js';
import { operationTable, operationText } from '../render.js';
import { print } from '../terminal.js';
import { lookAgain } from '../words.js';

/** `steward operation` */
export function addOperationCommands(program: Command): void {
  const operation = program.command('operation').description('what is being done: workflows of Steward');

  example(
    connects(operation.command('list').description('operations that run, the newest first'))
      .option('--all', 'also those that ended')
      .action((options: ConnectionOptions & { readonly all?: boolean }) =>
        withClient(options, async (client) => {
          const operations = await client.operations.list({ running: options.all !== true });
          const nothing = options.all
            ? 'no operations'
            : 'nothing runs; see also: steward operation list --all';
          print<OperationsDocument>(options, { operations }, () => operationTable(operations, nothing));
        }),
      ),
    'steward operation list --all',
  );

  example(
    connects(
      operation.command('show').description('one operation: progress, what it waits for, what blocks it'),
    )
      .argument('<id>', 'its id, as it was printed at the start or by "operation list"')
      .action((id: string, options: ConnectionOptions) =>
        withClient(options, async (client) => {
          const found = await client.operations.get(id);
          print<OperationDocument>(options, { operation: found }, () => operationText(found));
        }),
      ),
    'steward operation show region-group/3/remove',
  );

  example(
    changes(operation.command('cancel').description('end an operation early, as long as that is possible'))
      .argument('<id>', 'its id')
      .action((id: string, options: ChangeOptions) =>
        withClient(options, async (client) => {
          if (options.dryRun) {
            const found = await client.operations.get(id);
            print<OperationCancelDocument>(options, { dryRun: true, plan: { operation: found } }, () =>
              ['would ask this operation to end:', operationText(found)].join('\n'),
            );
            return;
          }
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
}
