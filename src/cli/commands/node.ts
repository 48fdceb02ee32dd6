import type { Command } from 'commander';
import { withClient } from '../connection.js';
import type { HostedReplica, NodeDocument, NodesDocument } from '../documents.js';
import { formatDuration } from '../duration.js';
import { type ConnectionOptions, connects, example } from '../options.js';
import { aliveCell, details, hostedTable, nodeTable } from '../render.js';
import { print } from '../terminal.js';
import { addFaultCommand } from './fault.js';

/** `steward node` */
export function addNodeCommands(program: Command): void {
  const node = program.command('node').description('the processes that host regions');

  example(
    connects(node.command('list').description('every node that ever registered')).action(
      (options: ConnectionOptions) =>
        withClient(options, async (client) => {
          const nodes = await client.nodes.list();
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
          const found = await client.nodes.get(id);
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
                ['state', aliveCell(found)],
                ['heard', `${formatDuration(found.silentMs)} ago`],
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
}
