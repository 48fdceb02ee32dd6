import type { Command } from 'commander';
import type { Node } from '../../client/index.js';
import { withClient } from '../connection.js';
import type { HostedReplica, NodeDocument, NodesDocument } from '../documents.js';
import { type LocalProcess, localProcesses } from '../local-processes.js';
import { type ConnectionOptions, connects, example } from '../options.js';
import { details, heardText, hostedTable, nodeStateCell, nodeTable, processText } from '../render.js';
import { print } from '../terminal.js';
import { addFaultCommand } from './fault.js';
import { addNodeProcessCommands } from './node-process.js';

/** `steward node` */
export function addNodeCommands(program: Command): void {
  const node = program.command('node').description('the processes that host regions');

  example(
    connects(node.command('list').description('every node that ever registered')).action(
      (options: ConnectionOptions) =>
        withClient(options, async (client) => {
          const processes = await localProcesses(options);
          const nodes = (await client.nodes.list()).map((found) => withProcess(found, processes));
          print<NodesDocument>(options, { nodes }, () => nodeTable(nodes));
        }),
    ),
    'steward node list',
  );

  example(
    connects(node.command('show').description('one node, and the replicas that the catalog has on it'))
      .argument('<id>')
      .action((id: string, options: ConnectionOptions) =>
        withClient(options, async (client) => {
          const found = withProcess(await client.nodes.get(id), await localProcesses(options));
          const replicas: HostedReplica[] = (await client.regionGroups.list()).flatMap(
            ({ groupId, database, kind, replicas: all }) =>
              all
                .filter(({ nodeId }) => nodeId === id)
                .map(({ state }) => ({ groupId, database, kind, state })),
          );
          print<NodeDocument>(options, { node: found, replicas }, () =>
            [
              details([
                ['node', found.nodeId],
                ['state', nodeStateCell(found)],
                ['heard', heardText(found)],
                ['process', found.process && processText(found.process)],
                ['address', found.address],
                ['incarnation', found.incarnation],
                ['ledger', found.ledgerId],
                ['capabilities', found.capabilities.join(' ')],
              ]),
              '',
              hostedTable(replicas),
            ].join('\n'),
          );
        }),
      ),
    'steward node show node-1',
  );

  addFaultCommand(node);
  addNodeProcessCommands(node);
}

function withProcess(
  node: Node,
  processes: ReadonlyMap<string, LocalProcess>,
): NodesDocument['nodes'][number] {
  const process = processes.get(node.nodeId);
  return { ...node, ...(process !== undefined && { process }) };
}
