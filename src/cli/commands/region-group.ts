import { type Command, InvalidArgumentError } from 'commander';
import type {
  CreationResult,
  Ended,
  RegionGroup,
  RegionGroupCreation,
  RegionKind,
  StewardClient,
} from '../../client/index.js';
import { MAX_GROUPS_PER_REQUEST, MAX_REPLICATION_FACTOR } from '../../rules/bounds.js';
import { counted } from '../../rules/counted.js';
import { confirm, type DestroyingOptions, destroys } from '../confirm.js';
import { withClient } from '../connection.js';
import type {
  CreationPlanDocument,
  ForgottenDocument,
  OperationEndDocument,
  RecreationPlanDocument,
  RegionGroupDocument,
  RegionGroupsDocument,
  RemovalPlanDocument,
} from '../documents.js';
import { UsageError } from '../failure.js';
import {
  type ChangeOptions,
  type ConnectionOptions,
  changes,
  connects,
  example,
  regionGroupId,
  regionGroupIds,
  type WaitingOptions,
  waits,
  wholeNumber,
} from '../options.js';
import {
  details,
  groupStateCell,
  holderText,
  listing,
  planTable,
  regionGroupTable,
  replicaTable,
  runningReplicas,
} from '../render.js';
import { print } from '../terminal.js';
import { operationEnd, type Waited, waitFor } from '../wait.js';
import { groupsText, lookAgain } from '../words.js';

const DEFAULT_REPLICATION = 3;

interface CreateOptions extends WaitingOptions {
  readonly kind: RegionKind;
  readonly groups: number;
  readonly replication: number;
  readonly request?: string;
}

type RemoveOptions = WaitingOptions & DestroyingOptions;

interface ForgetOptions extends ChangeOptions, DestroyingOptions {
  readonly node: string;
}

/** `steward region-group` */
export function addRegionGroupCommands(program: Command): void {
  const group = program.command('region-group').description('the shards of databases, replicated on nodes');

  example(
    waits(
      group
        .command('create')
        .description('create region groups on live nodes')
        .argument('<database>')
        .requiredOption('--kind <kind>', 'data or schema', kind)
        .requiredOption('--groups <n>', 'how many', wholeNumber(1, MAX_GROUPS_PER_REQUEST))
        .option(
          '--replication <r>',
          'replicas of each',
          wholeNumber(1, MAX_REPLICATION_FACTOR),
          DEFAULT_REPLICATION,
        )
        .option('--request <name>', 'names the request: asking twice creates once'),
    ).action((database: string, options: CreateOptions) =>
      withClient(options, (client) => create(client, database, options)),
    ),
    'steward region-group create sales --kind data --groups 4',
    'steward region-group create sales --kind data --groups 4 --request monday --no-wait',
  );

  example(
    destroys(
      waits(
        group
          .command('remove')
          .description('remove region groups from every node')
          .argument('<id...>', 'ids of region groups', regionGroupIds),
      ),
    ).action((ids: readonly number[], options: RemoveOptions) =>
      withClient(options, (client) => remove(client, ids, options)),
    ),
    'steward region-group remove 3 4 --dry-run',
    'steward region-group remove 3',
  );

  example(
    waits(
      group
        .command('recreate')
        .description('bring the replicas that running region groups lack')
        .argument('<id...>', 'ids of region groups of one database', regionGroupIds),
    ).action((ids: readonly number[], options: WaitingOptions) =>
      withClient(options, (client) => recreate(client, ids, options)),
    ),
    'steward region-group recreate 5',
  );

  example(
    destroys(
      changes(
        group
          .command('forget-replica')
          .description('let go of a replica whose node is away for good')
          .argument('<id>', 'id of a region group', regionGroupId)
          .requiredOption('--node <node>', 'the node that is gone'),
      ),
    ).action((id: number, options: ForgetOptions) =>
      withClient(options, (client) => forgetReplica(client, id, options)),
    ),
    'steward region-group forget-replica 5 --node node-2',
  );

  example(
    connects(group.command('list').description('region groups and where their replicas are'))
      .option('--database <name>', 'only of this database')
      .option('--incomplete', 'only those that lack a replica or do not run')
      .action((options: ConnectionOptions & { readonly database?: string; readonly incomplete?: boolean }) =>
        withClient(options, async (client) => {
          const { database, incomplete } = options;
          const regionGroups = await client.regionGroups.list({ database, incomplete });
          const nothing = incomplete ? 'every region group is complete' : 'no region groups';
          print<RegionGroupsDocument>(options, { regionGroups }, () =>
            regionGroupTable(regionGroups, nothing),
          );
        }),
      ),
    'steward region-group list --database sales --incomplete',
  );

  example(
    connects(group.command('show').description('one region group, its replicas and its holder'))
      .argument('<id>', 'id of a region group', regionGroupId)
      .action((id: number, options: ConnectionOptions) =>
        withClient(options, async (client) => {
          const regionGroup = await client.regionGroups.get(id);
          print<RegionGroupDocument>(options, { regionGroup }, () => regionGroupText(regionGroup));
        }),
      ),
    'steward region-group show 5',
  );
}

async function create(client: StewardClient, database: string, options: CreateOptions): Promise<void> {
  const { kind: regionKind, groups, replication, request } = options;
  const creation = { database, kind: regionKind, groups, replicationFactor: replication };
  const what = `${counted(groups, `${regionKind} region group`)} in ${database}`;
  if (options.dryRun || request === undefined) {
    // What cannot be done is refused before an operation is started. A request that is named may be under way already,
    // and can go on where a new one could not begin.
    const { placements } = await client.regionGroups.plan(creation);
    if (options.dryRun) {
      const regionGroups = placements.map((nodes) => ({ kind: regionKind, nodes }));
      print<CreationPlanDocument>(options, { dryRun: true, plan: { database, regionGroups } }, () =>
        [`would create ${what}`, planTable(regionGroups)].join('\n'),
      );
      return;
    }
  }
  const starting = client.regionGroups.create({ ...creation, request });
  const waited = await waitFor(`creating ${what}`, starting, options);
  const handle = await starting;
  print<OperationEndDocument>(options, { operation: operationEnd(handle, waited) }, () =>
    endText(handle.operationId, waited, (result) => creationText(creation, result)),
  );
}

async function remove(client: StewardClient, ids: readonly number[], options: RemoveOptions): Promise<void> {
  const regionGroups = await client.regionGroups.getMany(ids);
  const replicas = regionGroups.reduce((sum, group) => sum + group.replicas.length, 0);
  const what = groupsText(ids);
  if (options.dryRun) {
    print<RemovalPlanDocument>(options, { dryRun: true, plan: { regionGroups, replicas } }, () =>
      [
        `would remove ${what} with ${counted(replicas, 'replica')}`,
        regionGroupTable(regionGroups),
        ...holdersText(regionGroups),
      ].join('\n'),
    );
    return;
  }
  await confirm(options, async () => `remove ${what} ${aboutText(regionGroups)} from every node`);
  const starting = client.regionGroups.remove({ groups: ids });
  const waited = await waitFor(`removing ${what}`, starting, options);
  const handle = await starting;
  print<OperationEndDocument>(options, { operation: operationEnd(handle, waited) }, () =>
    endText(
      handle.operationId,
      waited,
      (result) =>
        `removed ${counted(result.groups, 'region group')} with ${counted(result.replicas, 'replica')}`,
    ),
  );
}

async function forgetReplica(client: StewardClient, groupId: number, options: ForgetOptions): Promise<void> {
  const { node: nodeId, dryRun = false } = options;
  const which = { groupId, nodeId };
  if (dryRun) {
    await client.regionGroups.forgetReplica(which, { dryRun });
    print<ForgottenDocument>(
      options,
      { dryRun: true, plan: { groupId, nodeId } },
      () => `would let go of the replica of region group ${groupId} on ${nodeId}`,
    );
    return;
  }
  await confirm(options, async () => {
    await client.regionGroups.forgetReplica(which, { dryRun: true });
    const about = aboutText([await client.regionGroups.get(groupId)]);
    return `let go of the replica on ${nodeId} of region group ${groupId} ${about}: what ${nodeId} has of it is lost`;
  });
  await client.regionGroups.forgetReplica(which);
  print<ForgottenDocument>(options, { groupId, nodeId, outcome: 'FORGOTTEN' }, () =>
    [
      `let go of the replica of region group ${groupId} on ${nodeId}`,
      'if the node ever returns, the sweep reports its region, and removes it with: steward sweep run --mode repair',
      `if the region group is to stay, bring another replica with: steward region-group recreate ${groupId}`,
    ].join('\n'),
  );
}

async function recreate(
  client: StewardClient,
  ids: readonly number[],
  options: WaitingOptions,
): Promise<void> {
  const regionGroups = await client.regionGroups.getMany(ids);
  const databases = [...new Set(regionGroups.map(({ database }) => database))];
  const [database] = databases;
  if (database === undefined || databases.length > 1) {
    throw new UsageError(
      `these region groups are of ${databases.join(' and ')}: give those of one database at a time`,
    );
  }
  if (options.dryRun) {
    const plan = regionGroups.map((regionGroup) => ({
      regionGroup,
      missing: Math.max(regionGroup.replicationFactor - runningReplicas(regionGroup), 0),
    }));
    print<RecreationPlanDocument>(options, { dryRun: true, plan: { regionGroups: plan } }, () =>
      [
        'would bring the replicas that are missing',
        listing(
          [
            { title: 'REGION GROUP', align: 'right' },
            { title: 'MISSING', align: 'right' },
          ],
          plan.map(({ regionGroup, missing }) => [regionGroup.groupId, missing]),
          '',
        ),
        ...holdersText(regionGroups),
      ].join('\n'),
    );
    return;
  }
  const what = groupsText(ids);
  const starting = client.regionGroups.recreateMissing({ database, groups: ids });
  const waited = await waitFor(`recreating missing replicas of ${what}`, starting, options);
  const handle = await starting;
  print<OperationEndDocument>(options, { operation: operationEnd(handle, waited) }, () =>
    endText(handle.operationId, waited, () => `${what}: all replicas run`),
  );
}

function kind(text: string): RegionKind {
  const found = (['DATA', 'SCHEMA'] as const).find((one) => one === text.toUpperCase());
  if (found === undefined) throw new InvalidArgumentError('Expected data or schema.');
  return found;
}

function endText<T>(operationId: string, waited: Waited<T>, done: (result: T) => string): string {
  return waited.outcome === 'DONE'
    ? done(waited.result)
    : `started ${operationId}; look at it with: ${lookAgain(operationId)}`;
}

function creationText(
  { database, kind: regionKind, groups }: Pick<RegionGroupCreation, 'database' | 'kind' | 'groups'>,
  { complete, incomplete }: Ended<CreationResult>,
): string {
  const gone = groups - complete - incomplete;
  return [
    `created ${counted(groups - gone, `${regionKind} region group`)} in ${database}`,
    ...(gone > 0 ? [`${gone} more were, and are removed already by another operation`] : []),
    ...(incomplete > 0
      ? [
          `${incomplete} of them lack a replica, which comes as soon as its node can: ` +
            `steward region-group list --database ${database} --incomplete`,
        ]
      : []),
  ].join('; ');
}

function regionGroupText(group: RegionGroup): string {
  return [
    details([
      ['region group', group.groupId],
      ['database', group.database],
      ['kind', group.kind],
      ['state', groupStateCell(group)],
      ['held by', group.holder && holderText(group.holder)],
      ['replicas', `${runningReplicas(group)} of ${group.replicationFactor} run`],
      ['epoch', group.epoch],
      ['created', group.createdAt],
      ['partition slots', group.partitionSlots],
    ]),
    '',
    replicaTable(group),
  ].join('\n');
}

/** `(DATA of sales, RUNNING, replicas on node-1 node-2)`; of several: `(of sales, 6 replicas)` */
function aboutText(groups: readonly RegionGroup[]): string {
  const [one] = groups;
  const held = groups.flatMap(({ holder }) => holder?.workflowId ?? []);
  const parts =
    groups.length === 1 && one !== undefined
      ? [
          `${one.kind} of ${one.database}`,
          one.state,
          `replicas on ${one.replicas.map(({ nodeId }) => nodeId).join(' ') || 'no node'}`,
        ]
      : [
          `of ${[...new Set(groups.map(({ database }) => database))].join(' and ')}`,
          counted(
            groups.reduce((sum, { replicas }) => sum + replicas.length, 0),
            'replica',
          ),
        ];
  const holders = held.length === 0 ? [] : [`held by ${[...new Set(held)].join(' and ')}`];
  return `(${[...parts, ...holders].join(', ')})`;
}

/** Who is in the way now, each holder once. */
function holdersText(groups: readonly RegionGroup[]): string[] {
  const holders = new Map(
    groups.flatMap(({ holder }) => (holder === undefined ? [] : [[holder.firstRunId, holder]])),
  );
  return [...holders.values()].map((holder) => `held now by ${holderText(holder)}`);
}
