import type { Command } from 'commander';
import type { Node } from '../../client/index.js';
import type { ControlCommand } from '../../local/control.js';
import { counted } from '../../rules/counted.js';
import { confirm, type DestroyingOptions, destroys } from '../confirm.js';
import { withClient } from '../connection.js';
import type { NodeProcessDocument } from '../documents.js';
import { formatDuration } from '../duration.js';
import { type LocalProcess, localProcesses } from '../local-processes.js';
import { type ChangeOptions, connects, duration, example, plans } from '../options.js';
import { processText } from '../render.js';
import { print } from '../terminal.js';

interface KillOptions extends ChangeOptions, DestroyingOptions {
  /** Milliseconds. */
  readonly restartAfter?: number;
}

/** `steward node kill`, `pause` and `resume`: what befalls machines, done to processes of the local stack. */
export function addNodeProcessCommands(node: Command): void {
  example(
    destroys(
      acts(node.command('kill').description('kill its process (SIGKILL); it stays down until it is resumed')),
    )
      .option('--restart-after <duration>', 'start it again after this, such as 10s', duration)
      .action((nodeId: string, options: KillOptions) =>
        control(
          nodeId,
          options,
          () => ({
            action: 'kill',
            process: nodeId,
            ...(options.restartAfter !== undefined && { restartAfterMs: options.restartAfter }),
          }),
          ({ replicas }, found) =>
            confirm(options, async () => {
              const hosted = counted(replicas, 'replica');
              return `kill the process of ${nodeId} (${processText(found)}; it hosts ${hosted})`;
            }),
        ),
      ),
    'steward node kill node-2',
    'steward node kill node-2 --restart-after 10s',
  );

  example(
    acts(
      node
        .command('pause')
        .description('hold its process (SIGSTOP): it keeps its connections and answers nothing'),
    ).action((nodeId: string, options: ChangeOptions) =>
      control(nodeId, options, () => ({ action: 'pause', process: nodeId })),
    ),
    'steward node pause node-2',
  );

  example(
    acts(
      node
        .command('resume')
        .description('let its process go on (SIGCONT), or start it again when it was killed'),
    ).action((nodeId: string, options: ChangeOptions) =>
      control(nodeId, options, ({ state }) => ({
        action: state === 'stopped' ? 'restart' : 'resume',
        process: nodeId,
      })),
    ),
    'steward node resume node-2',
  );
}

function acts(command: Command): Command {
  return plans(connects(command))
    .argument('<node>')
    .addHelpText(
      'after',
      '\nOnly for nodes of the local stack that were started with --allow-faults, as its own are.',
    );
}

async function control(
  nodeId: string,
  options: ChangeOptions,
  commandFor: (found: LocalProcess) => ControlCommand,
  agree?: (node: Node, found: LocalProcess) => Promise<void>,
): Promise<void> {
  await withClient(options, async (client) => {
    const node = await client.nodes.get(nodeId);
    const found = await allowed(node, options);
    const command = commandFor(found);
    if (options.dryRun) {
      print<NodeProcessDocument>(
        options,
        { dryRun: true, plan: { nodeId, process: found, command } },
        () => `would ${command.action} ${nodeId} (${processText(found)})${afterwards(command)}`,
      );
      return;
    }
    await agree?.(node, found);
    const { controlStack } = await import('../../local/control.js');
    await controlStack(command);
    const process = (await localProcesses(options)).get(nodeId) ?? found;
    print<NodeProcessDocument>(
      options,
      { nodeId, process, command },
      () => `${nodeId}: ${processText(process)}${afterwards(command)}`,
    );
  });
}

function afterwards(command: ControlCommand): string {
  if (command.action !== 'kill') return '';
  return command.restartAfterMs === undefined
    ? '; it stays down until it is resumed'
    : `; it starts again after ${formatDuration(command.restartAfterMs)}`;
}

/** The node's process, if it may be disturbed, and from here. */
async function allowed(
  { nodeId, capabilities, address }: Node,
  options: ChangeOptions,
): Promise<LocalProcess> {
  const { FAULTS_NOT_ALLOWED, StewardError } = await import('../../client/index.js');
  if (!capabilities.includes('faults')) {
    throw new StewardError('REJECTED', `${nodeId} was started without --allow-faults: it is left alone`, {
      details: FAULTS_NOT_ALLOWED,
    });
  }
  const found = (await localProcesses(options)).get(nodeId);
  if (found !== undefined) return found;
  throw new StewardError(
    'REJECTED',
    `${nodeId} at ${address} is no process of a local stack here: only what started it can do that, such as its ` +
      'service manager or container runtime',
    { details: 'NOT_SUPERVISED_HERE' },
  );
}
