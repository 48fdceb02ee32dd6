import type { Command } from 'commander';
import type { StewardClient } from '../../client/index.js';
import { MAX_GROUPS_PER_REQUEST, MAX_REPLICATION_FACTOR } from '../../rules/bounds.js';
import { counted } from '../../rules/counted.js';
import { confirm, type DestroyingOptions, destroys } from '../confirm.js';
import { withClient } from '../connection.js';
import type {
  DatabaseCreatedDocument,
  DatabaseDocument,
  DatabasePlanDocument,
  DatabasesDocument,
  DeletionPlanDocument,
  OperationEnd,
  OperationEndDocument,
} from '../documents.js';
import { type InitialGroups, planInitialGroups, startInitialGroups } from '../initial-groups.js';
import {
  type ConnectionOptions,
  connects,
  example,
  type WaitingOptions,
  waits,
  wholeNumber,
} from '../options.js';
import { details, holderText, listing, planTable, regionGroupTable } from '../render.js';
import { print } from '../terminal.js';
import { operationEnd, waitFor } from '../wait.js';
import { lookAgain } from '../words.js';

const DEFAULT_REPLICATION = 3;

interface CreateOptions extends WaitingOptions {
  readonly dataGroups: number;
  readonly schemaGroups: number;
  readonly replication: number;
}

type DeleteOptions = WaitingOptions & DestroyingOptions;

/** `steward database` */
export function addDatabaseCommands(program: Command): void {
  const database = program.command('database').description('databases, which region groups belong to');
  const groups = wholeNumber(0, MAX_GROUPS_PER_REQUEST);

  example(
    waits(
      database
        .command('create')
        .description('make a database, with its first region groups')
        .argument('<name>', 'lower-case letters, digits, . _ - and a letter first')
        .option('--data-groups <n>', 'DATA region groups', groups, 0)
        .option('--schema-groups <n>', 'SCHEMA region groups', groups, 0)
        .option(
          '--replication <r>',
          'replicas of each',
          wholeNumber(1, MAX_REPLICATION_FACTOR),
          DEFAULT_REPLICATION,
        ),
    ).action((name: string, options: CreateOptions) =>
      withClient(options, (client) => create(client, name, options)),
    ),
    'steward database create sales --data-groups 4 --schema-groups 1',
  );

  example(
    destroys(
      waits(
        database
          .command('delete')
          .description('delete a database with all its region groups, from every node')
          .argument('<name>'),
      ),
    ).action((name: string, options: DeleteOptions) =>
      withClient(options, (client) => deleteDatabase(client, name, options)),
    ),
    'steward database delete sales --dry-run',
    'steward database delete sales',
  );

  example(
    connects(database.command('list').description('all databases')).action((options: ConnectionOptions) =>
      withClient(options, async (client) => {
        const databases = await client.databases.list();
        print<DatabasesDocument>(options, { databases }, () =>
          listing(
            [
              { title: 'DATABASE' },
              { title: 'STATE' },
              { title: 'SCHEMA', align: 'right' },
              { title: 'DATA', align: 'right' },
              { title: 'RUNNING', align: 'right' },
              { title: 'REPLICAS', align: 'right' },
              { title: 'BY' },
            ],
            databases.map((one) => [
              one.name,
              one.state,
              one.schemaRegionGroups,
              one.dataRegionGroups,
              `${one.runningRegionGroups}/${one.schemaRegionGroups + one.dataRegionGroups}`,
              `${one.runningReplicas}/${one.replicas}`,
              one.createdBy,
            ]),
            'no databases; make one with: steward database create <name>',
          ),
        );
      }),
    ),
    'steward database list',
  );

  example(
    connects(database.command('show').description('one database and its region groups'))
      .argument('<name>')
      .action((name: string, options: ConnectionOptions) =>
        withClient(options, async (client) => {
          const found = await client.databases.get(name);
          const regionGroups = await client.regionGroups.list({ database: name });
          print<DatabaseDocument>(options, { database: found, regionGroups }, () =>
            [
              details([
                ['database', found.name],
                ['state', found.state],
                ['held by', found.holder && holderText(found.holder)],
                ['created', `${found.createdAt} by ${found.createdBy}`],
                ['replicas', `${found.runningReplicas} of ${found.replicas} run`],
                ['partition slots', found.partitionSlots],
              ]),
              '',
              regionGroupTable(regionGroups),
            ].join('\n'),
          );
        }),
      ),
    'steward database show sales',
  );
}

async function create(client: StewardClient, name: string, options: CreateOptions): Promise<void> {
  const initial: InitialGroups = { ...options, replicationFactor: options.replication };
  await requireAbsent(client, name);
  // Refused before anything is made (I10).
  const planned = await planInitialGroups(client, initial);
  if (options.dryRun) {
    const plan = { database: name, regionGroups: planned };
    print<DatabasePlanDocument>(options, { dryRun: true, plan }, () =>
      [`would make database ${name}`, ...(planned.length === 0 ? [] : [planTable(planned)])].join('\n'),
    );
    return;
  }
  await client.databases.create({ name });
  const operations = await createGroups(client, name, initial, options);
  const database = await client.databases.get(name);
  const regionGroups = await client.regionGroups.list({ database: name });
  print<DatabaseCreatedDocument>(options, { database, operations }, () =>
    [
      `made database ${name}`,
      ...operations
        .filter(({ outcome }) => outcome === 'STARTED')
        .map(({ operationId }) => `started ${operationId}; look at it with: ${lookAgain(operationId)}`),
      ...(regionGroups.length === 0 ? [] : [regionGroupTable(regionGroups)]),
    ].join('\n'),
  );
}

async function deleteDatabase(client: StewardClient, name: string, options: DeleteOptions): Promise<void> {
  const database = await client.databases.get(name);
  if (options.dryRun) {
    const regionGroups = await client.regionGroups.list({ database: name });
    print<DeletionPlanDocument>(options, { dryRun: true, plan: { database, regionGroups } }, () =>
      [
        `would delete database ${name} with ${counted(database.replicas, 'replica')}`,
        regionGroupTable(regionGroups),
        ...(database.holder === undefined ? [] : [`held now by ${holderText(database.holder)}`]),
      ].join('\n'),
    );
    return;
  }
  await confirm(options, async () => {
    const { state, schemaRegionGroups, dataRegionGroups, replicas } = database;
    const groups = counted(schemaRegionGroups + dataRegionGroups, 'region group');
    return `delete database ${name} (${state}) with its ${groups} and ${counted(replicas, 'replica')}, from every node`;
  });
  const starting = client.databases.delete(name);
  const waited = await waitFor(`deleting database ${name}`, starting, options);
  const handle = await starting;
  print<OperationEndDocument>(options, { operation: operationEnd(handle, waited) }, () =>
    waited.outcome === 'DONE'
      ? `deleted database ${name}: ${counted(waited.result.groups, 'region group')}, ${counted(waited.result.replicas, 'replica')}`
      : `started ${handle.operationId}; look at it with: ${lookAgain(handle.operationId)}`,
  );
}

/** Waits for one after the other, and for all of them before it throws what the first one threw. */
async function createGroups(
  client: StewardClient,
  name: string,
  initial: InitialGroups,
  options: WaitingOptions,
): Promise<OperationEnd[]> {
  const ends: OperationEnd[] = [];
  const failures: unknown[] = [];
  for (const { label, handle } of await startInitialGroups(client, name, initial)) {
    try {
      ends.push(operationEnd(handle, await waitFor(label, handle, options)));
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
  return ends;
}

async function requireAbsent(client: StewardClient, name: string): Promise<void> {
  const { StewardError } = await import('../../client/errors.js');
  const found = await client.databases.get(name).catch((error: unknown) => {
    if (error instanceof StewardError && error.code === 'NOT_FOUND') return undefined;
    throw error;
  });
  if (found === undefined) return;
  throw new StewardError(
    'ALREADY_EXISTS',
    `database ${name} exists already; region groups are added with: steward region-group create ${name} --kind data --groups <n>`,
  );
}
