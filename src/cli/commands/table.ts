import { setTimeout as sleep } from 'node:timers/promises';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type {
  FileFormat,
  Ingested,
  OptimizingProcess,
  StewardClient,
  Table,
  Column as TableColumn,
  TableDescription,
} from '../../client/index.js';
import { counted } from '../../rules/counted.js';
import { withClient } from '../connection.js';
import type {
  IngestDocument,
  OptimizeDocument,
  TableDocument,
  TablePlanDocument,
  TablesDocument,
} from '../documents.js';
import {
  type ChangeOptions,
  type ConnectionOptions,
  changes,
  connects,
  example,
  type WaitingOptions,
  waits,
} from '../options.js';
import { details, listing, section } from '../render.js';
import type { Cell } from '../table.js';
import { colors, print } from '../terminal.js';
import { operationEnd, waitFor } from '../wait.js';

interface CreateOptions extends ChangeOptions {
  readonly group: string;
  readonly columns?: readonly TableColumn[];
}

interface IngestOptions extends ChangeOptions {
  readonly format?: FileFormat;
}

interface OptimizeOptions extends WaitingOptions {
  readonly kind?: 'MINOR' | 'MAJOR' | 'FULL';
}

const LOOK_EVERY_MS = 500;

/** `steward table` */
export function addTableCommands(program: Command): void {
  const table = program
    .command('table')
    .description('tables of Parquet files, whose small files optimizers merge');

  example(
    changes(
      table
        .command('create')
        .description('make an empty table')
        .argument('<name>', 'lower-case letters, digits, . _ - and a letter first')
        .option('--group <name>', 'optimizer group that optimizes it', 'default')
        .addOption(
          new Option('--columns <list>', 'name:TYPE,...; absent: as in the first file').argParser(columnList),
        ),
    ).action((name: string, options: CreateOptions) =>
      withClient(options, (client) => create(client, name, options)),
    ),
    'steward table create orders',
    'steward table create customers --group nightly --columns id:BIGINT,name:VARCHAR',
  );

  example(
    changes(
      table
        .command('ingest')
        .description('add files, each whole or not at all, one after the other')
        .argument('<name>', 'the table')
        .argument('<file...>', 'CSV with a header, NDJSON or Parquet')
        .addOption(
          new Option('--format <format>', 'when the names do not say it').choices([
            'CSV',
            'NDJSON',
            'PARQUET',
          ]),
        ),
    ).action((name: string, files: string[], options: IngestOptions) =>
      withClient(options, (client) => ingest(client, name, files, options)),
    ),
    'steward table ingest orders monday.csv tuesday.ndjson wednesday.parquet',
  );

  example(
    waits(
      table
        .command('optimize')
        .description('merge its files now, and wait for the commit; a schedule does it as well')
        .argument('<name>')
        .addOption(
          new Option('--kind <kind>', 'how much of it; absent: as it needs').choices([
            'MINOR',
            'MAJOR',
            'FULL',
          ]),
        ),
    ).action((name: string, options: OptimizeOptions) =>
      withClient(options, (client) => optimize(client, name, options)),
    ),
    'steward table optimize orders',
    'steward table optimize orders --kind FULL --timeout 5m',
  );

  example(
    connects(table.command('list').description('all tables')).action((options: ConnectionOptions) =>
      withClient(options, async (client) => {
        const tables = await client.tables.list();
        print<TablesDocument>(options, { tables }, () => tableTable(tables));
      }),
    ),
    'steward table list',
  );

  example(
    connects(table.command('show').description('one table, its newest process, and what stands in the way'))
      .argument('<name>')
      .action((name: string, options: ConnectionOptions) =>
        withClient(options, async (client) => {
          const found = await client.tables.get(name);
          print<TableDocument>(options, { table: found }, () => tableText(found));
        }),
      ),
    'steward table show orders',
  );
}

async function create(client: StewardClient, name: string, options: CreateOptions): Promise<void> {
  const { group, columns } = options;
  if (options.dryRun) {
    const plan = { action: 'create' as const, name, group, columns: columns ?? [] };
    print<TablePlanDocument>(
      options,
      { dryRun: true, plan },
      () => `would make table ${name} in group ${group}`,
    );
    return;
  }
  await client.tables.create({ name, group, columns });
  const made = await client.tables.get(name);
  print<TableDocument>(options, { table: made }, () => `made table ${name}\n${tableText(made)}`);
}

async function ingest(
  client: StewardClient,
  name: string,
  files: readonly string[],
  options: IngestOptions,
): Promise<void> {
  const { format } = options;
  if (options.dryRun) {
    await client.tables.get(name);
    const plan = { action: 'ingest' as const, name, files };
    print<TablePlanDocument>(options, { dryRun: true, plan }, () =>
      [`would add to table ${name}:`, ...files.map((file) => `  ${file}`)].join('\n'),
    );
    return;
  }
  const ingested: (Ingested & { readonly file: string })[] = [];
  for (const file of files) ingested.push({ file, ...(await client.tables.ingest(name, file, { format })) });
  print<IngestDocument>(options, { table: name, ingested }, () => {
    const rows = ingested.reduce((sum, one) => sum + one.rows, 0);
    return `added ${counted(ingested.length, 'file')} with ${counted(rows, 'row')} to table ${name}`;
  });
}

async function optimize(client: StewardClient, name: string, options: OptimizeOptions): Promise<void> {
  const { kind } = options;
  if (options.dryRun) {
    const table = await client.tables.get(name);
    const plan = { action: 'optimize' as const, name, files: table.files, blockers: table.blockers };
    print<TablePlanDocument>(options, { dryRun: true, plan }, () =>
      [`would optimize table ${name}:`, tableText(table)].join('\n'),
    );
    return;
  }
  const before = await client.tables.get(name);
  const handle = await client.tables.optimize(name, { kind });
  const planned = await waitFor(`planning ${name}`, handle, options);
  const operation = operationEnd(handle, planned);
  const processId = planned.outcome === 'DONE' ? planned.result.planned[0]?.processId : undefined;
  if (processId === undefined) {
    const why = planned.outcome === 'DONE' ? planned.result.waiting[0]?.reason : undefined;
    print<OptimizeDocument>(options, { operation, table: before }, () =>
      why === undefined ? `started ${handle.operationId}` : `nothing was started: ${why}`,
    );
    return;
  }
  const after = await processEnd(client, name, processId, options);
  print<OptimizeDocument>(options, { operation, table: after }, () =>
    [
      `optimized table ${name}: ${counted(before.files, 'file')} before, ${after.files} after`,
      tableText(after),
    ].join('\n'),
  );
}

/** Waits until the process is over. Ctrl-C and `--timeout` give up the waiting: it goes on. */
async function processEnd(
  client: StewardClient,
  name: string,
  processId: number,
  { timeout }: WaitingOptions,
): Promise<TableDescription> {
  const { StewardError } = await import('../../client/errors.js');
  const deadline = timeout === undefined ? Number.POSITIVE_INFINITY : performance.now() + timeout;
  const stopped = new AbortController();
  const stop = () => stopped.abort();
  process.once('SIGINT', stop);
  try {
    for (;;) {
      const table = await client.tables.get(name);
      const found = table.process;
      if (found?.processId !== processId || found.state === 'SUCCESS') return table;
      if (found.state !== 'RUNNING') {
        throw new StewardError('FAILED', `process ${processId} is ${found.state}: ${found.reason}`);
      }
      if (stopped.signal.aborted || performance.now() > deadline) {
        const why = [...table.blockers, tasksText(found)].join('; ');
        throw new StewardError(
          'TIMED_OUT',
          `process ${processId} goes on (${why}); look again with: steward table show ${name}`,
        );
      }
      await sleep(LOOK_EVERY_MS, undefined, { signal: stopped.signal }).catch(() => {});
    }
  } finally {
    process.removeListener('SIGINT', stop);
  }
}

function columnList(text: string): readonly TableColumn[] {
  return text.split(/,(?![^(]*\))/).map((part) => {
    const at = part.indexOf(':');
    if (at < 1 || at === part.length - 1) {
      throw new InvalidArgumentError('Expected name:TYPE,... such as id:BIGINT,name:VARCHAR.');
    }
    return {
      name: part.slice(0, at).trim(),
      type: part
        .slice(at + 1)
        .trim()
        .toUpperCase(),
    };
  });
}

export function tableTable(tables: readonly Table[]): string {
  return listing(
    [
      { title: 'TABLE' },
      { title: 'STATUS' },
      { title: 'GROUP' },
      { title: 'FILES', align: 'right' },
      { title: 'SMALL', align: 'right' },
      { title: 'ROWS', align: 'right' },
      { title: 'BYTES', align: 'right' },
      { title: 'SNAPSHOT', align: 'right' },
    ],
    tables.map((one) => [
      one.name,
      statusCell(one),
      one.group,
      one.files,
      one.smallFiles,
      one.rows,
      one.bytes,
      one.snapshotId,
    ]),
    'no tables; make one with: steward table create <name>',
  );
}

function statusCell({ status }: Table): Cell {
  if (status === 'IDLE') return { text: status, paint: colors.green };
  return { text: status, paint: status === 'PENDING' ? colors.yellow : colors.cyan };
}

export function tableText(table: TableDescription): string {
  const { process: newest, blockers } = table;
  return [
    details([
      ['table', table.name],
      ['status', statusCell(table)],
      ['since', table.statusSince],
      ['group', table.group],
      ['location', table.location],
      ['columns', table.columns.map(({ name, type }) => `${name} ${type}`).join(', ') || undefined],
      ['snapshot', table.snapshotId],
      ['files', `${table.files} (${table.smallFiles} small, ${table.undersizedFiles} undersized)`],
      ['rows', table.rows],
      ['bytes', table.bytes],
      ['created', `${table.createdAt} by ${table.createdBy}`],
      ['process', newest && `${newest.processId} ${newest.kind} ${newest.state}: ${tasksText(newest)}`],
      ['reason', newest?.reason],
    ]),
    ...(blockers.length > 0
      ? [section(colors.red('IN THE WAY'), details(blockers.map((blocker) => ['-', blocker] as const)))]
      : []),
  ].join('\n');
}

/** `3 tasks: 1 ACKED, 2 SUCCESS` */
function tasksText({ tasks }: OptimizingProcess): string {
  const counts = new Map<string, number>();
  for (const { state } of tasks) counts.set(state, (counts.get(state) ?? 0) + 1);
  const states = [...counts].map(([state, count]) => `${count} ${state}`).join(', ');
  return `${counted(tasks.length, 'task')}${states === '' ? '' : `: ${states}`}`;
}
