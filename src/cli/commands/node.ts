import type { Command } from 'commander';
import type { Node, NodeLimits, NodeState, StewardClient } from '../../client/index.js';
import { messageOf } from '../../message-of.js';
import { MAX_LIMIT } from '../../rules/bounds.js';
import { withClient } from '../connection.js';
import type { HostedReplica, NodeDocument, NodeLimitDocument, NodesDocument } from '../documents.js';
import { UsageError } from '../failure.js';
import { type LocalProcess, localProcesses } from '../local-processes.js';
import {
  type ChangeOptions,
  type ConnectionOptions,
  changes,
  connects,
  example,
  wholeNumber,
} from '../options.js';
import {
  details,
  heardText,
  hostedTable,
  limitsText,
  listing,
  loadText,
  nodeStateCell,
  nodeTable,
  processText,
} from '../render.js';
import { print, printLine } from '../terminal.js';
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
          const state = found.alive ? await stateOf(client, found) : undefined;
          print<NodeDocument>(options, { node: found, replicas, ...(state && { state }) }, () =>
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
                ['limits', limitsText(found.limits)],
                ...(state?.load ?? []).map((load) => [load.verb, loadText(load)] as const),
              ]),
              '',
              hostedTable(replicas),
            ].join('\n'),
          );
        }),
      ),
    'steward node show node-1',
  );

  const most = wholeNumber(1, MAX_LIMIT);
  example(
    changes(
      node
        .command('limit')
        .description('how many deletions and creations of regions a node may run at a time, from now on'),
    )
      .argument('[node]')
      .option('--all', 'every node; limits of single nodes go')
      .option('--deletions <n>', 'deletions at a time; any number when it is not named', most)
      .option('--creations <n>', 'creations at a time; any number when it is not named', most)
      .option('--none', 'no limits of its own: those of --all apply')
      .action((nodeId: string | undefined, options: LimitOptions) =>
        withClient(options, (client) => limit(client, nodeId, options)),
      ),
    'steward node limit node-1 --deletions 2',
    'steward node limit --all --deletions 4 --creations 8',
    'steward node limit node-1 --none',
  );

  addFaultCommand(node);
  addNodeProcessCommands(node);
}

/** What it says of itself, unless it does not answer, which is told. */
async function stateOf(client: StewardClient, node: Node): Promise<NodeState | undefined> {
  try {
    return await client.nodes.state(node);
  } catch (error) {
    printLine(`cannot be shown: what it has under way: ${messageOf(error)}`);
    return undefined;
  }
}

function withProcess(
  node: Node,
  processes: ReadonlyMap<string, LocalProcess>,
): NodesDocument['nodes'][number] {
  const process = processes.get(node.nodeId);
  return { ...node, ...(process !== undefined && { process }) };
}

interface LimitOptions extends ChangeOptions {
  readonly all?: boolean;
  readonly deletions?: number;
  readonly creations?: number;
  readonly none?: boolean;
}

async function limit(
  client: StewardClient,
  nodeId: string | undefined,
  { all, deletions, creations, none, ...options }: LimitOptions,
): Promise<void> {
  if ((nodeId === undefined) === (all !== true)) throw new UsageError('give a node, or --all');
  if ((deletions === undefined && creations === undefined) === (none !== true)) {
    throw new UsageError('give --deletions, --creations or both; or --none alone');
  }
  const limits: NodeLimits | undefined = none
    ? undefined
    : { ...(deletions !== undefined && { deletions }), ...(creations !== undefined && { creations }) };
  if (!options.dryRun) await client.nodes.limit(nodeId, limits);
  const nodes = nodeId === undefined ? await client.nodes.list() : [await client.nodes.get(nodeId)];
  const shown = () =>
    listing(
      [{ title: 'NODE' }, { title: 'LIMITS' }],
      nodes.map((one) => [one.nodeId, limitsText(one.limits)]),
      'no node has registered yet',
    );
  if (options.dryRun) {
    print<NodeLimitDocument>(options, { dryRun: true, plan: { limits: limits ?? null, nodes } }, () =>
      [`would limit ${nodeId ?? 'every node'} to: ${limitsText(limits ?? {})}; now:`, shown()].join('\n'),
    );
    return;
  }
  print<NodeLimitDocument>(options, { nodes }, shown);
}
