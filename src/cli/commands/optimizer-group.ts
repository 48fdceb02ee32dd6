import { type Command, InvalidArgumentError } from 'commander';
import type { GroupSettings, OptimizerGroup, OptimizerResource, StewardClient } from '../../client/index.js';
import {
  MAX_OPTIMIZER_MEMORY_MB,
  MAX_OPTIMIZER_THREADS,
  MIN_OPTIMIZER_MEMORY_MB,
} from '../../rules/bounds.js';
import { confirm, type DestroyingOptions, destroys } from '../confirm.js';
import { withClient } from '../connection.js';
import type {
  OptimizerGroupChangeDocument,
  OptimizerGroupDocument,
  OptimizerGroupPlanDocument,
  OptimizerGroupsDocument,
} from '../documents.js';
import { formatDuration } from '../duration.js';
import { UsageError } from '../failure.js';
import { optimizerGroupText } from '../optimizer-group-text.js';
import {
  type ChangeOptions,
  type ConnectionOptions,
  changes,
  connects,
  duration,
  example,
  wholeNumber,
} from '../options.js';
import { listing } from '../render.js';
import { print, printLine } from '../terminal.js';

/** Options that set how a group is kept; each is a setting of the group. */
interface SettingOptions {
  readonly threads?: number;
  readonly memory?: number;
  readonly minThreads?: number;
  readonly autoRestart?: boolean;
  readonly maxRetries?: number;
  readonly grace?: number;
  readonly heartbeatTimeout?: number;
  readonly keepingAttempts?: number;
}

interface CreateOptions extends ChangeOptions, SettingOptions {
  readonly container?: string;
  readonly optimizers?: number;
  readonly property?: Readonly<Record<string, string>>;
}

const MAX_OPTIMIZERS = 150;
const MAX_THREADS = 10_000;
const MAX_COUNT = 1_000;

type ForgetOptions = ChangeOptions & DestroyingOptions;

/** `steward optimizer-group` */
export function addOptimizerGroupCommands(program: Command): void {
  const group = program
    .command('optimizer-group')
    .description('groups of optimizers, and the keeper of each that keeps them alive');

  example(
    settingOptions(
      changes(
        group
          .command('create')
          .description('make a group, and start its keeper')
          .argument('<name>', 'lower-case letters, digits, . _ -'),
      )
        .option('--container <name>', 'what starts its optimizers; default: local')
        .option(
          '--optimizers <n>',
          'how many to start at once: sets the threads that the group must have',
          wholeNumber(0, MAX_OPTIMIZERS),
        )
        .option('--property <key=value>', 'handed to every optimizer; may be repeated', property),
    ).action((name: string, options: CreateOptions) =>
      withClient(options, (client) => create(client, name, options)),
    ),
    'steward optimizer-group create nightly --optimizers 2 --threads 2 --auto-restart',
    'steward optimizer-group create flink --container external',
  );

  example(
    connects(group.command('list').description('all groups')).action((options: ConnectionOptions) =>
      withClient(options, async (client) => {
        const groups = await client.optimizerGroups.list();
        print<OptimizerGroupsDocument>(options, { groups }, () => groupTable(groups));
      }),
    ),
    'steward optimizer-group list',
  );

  example(
    connects(
      group
        .command('show')
        .description('live optimizers, orphans and what becomes of them, settings, and the keeper')
        .argument('<name>'),
    ).action((name: string, options: ConnectionOptions) =>
      withClient(options, async (client) => {
        const found = await client.optimizerGroups.get(name);
        print<OptimizerGroupDocument>(options, { group: found }, () => optimizerGroupText(found));
      }),
    ),
    'steward optimizer-group show default',
  );

  example(
    settingOptions(
      changes(
        group
          .command('scale')
          .description('set how a group is kept; what is not named stays')
          .argument('<name>'),
      ),
    )
      // After --auto-restart: declared first, it would be on when neither is given.
      .option('--no-auto-restart', 'leave optimizers that died to the operator')
      .action((name: string, options: ChangeOptions & SettingOptions) =>
        withClient(options, (client) => scale(client, name, options)),
      ),
    'steward optimizer-group scale default --min-threads 3',
    'steward optimizer-group scale default --auto-restart --grace 2m',
  );

  example(
    changes(group.command('pause').description('no restart, no clean-up, no request until it is resumed'))
      .argument('<name>')
      .option('--reason <text>', 'shown to whoever looks')
      .action((name: string, options: ChangeOptions & { readonly reason?: string }) =>
        change(name, 'pause', options, (client) => client.optimizerGroups.pause(name, options.reason)),
      ),
    'steward optimizer-group pause default --reason "the cluster moves"',
  );

  example(
    changes(group.command('resume').description('let the keeper go on'))
      .argument('<name>')
      .action((name: string, options: ChangeOptions) =>
        change(name, 'resume', options, (client) => client.optimizerGroups.resume(name)),
      ),
    'steward optimizer-group resume default',
  );

  example(
    changes(
      group
        .command('restart-now')
        .description('restart an orphan at once, whatever its grace; its attempts count from 0 again'),
    )
      .argument('<name>')
      .argument('<resource>')
      .action((name: string, resource: string, options: ChangeOptions) =>
        change(
          name,
          'restart-now',
          options,
          (client) => client.optimizerGroups.restartNow(name, resource),
          resource,
        ),
      ),
    'steward optimizer-group restart-now default default-1f2e3d4c-1-1',
  );

  example(
    changes(
      group
        .command('reset')
        .description(
          'forget attempts: every orphan has a new grace, a minimum that was given up applies again',
        ),
    )
      .argument('<name>')
      .action((name: string, options: ChangeOptions) =>
        change(name, 'reset', options, (client) => client.optimizerGroups.reset(name)),
      ),
    'steward optimizer-group reset default',
  );

  example(
    destroys(
      changes(
        group
          .command('forget-resource')
          .description('take an orphan out of the catalog without asking its container'),
      ),
    )
      .argument('<name>')
      .argument('<resource>')
      .action((name: string, resource: string, options: ForgetOptions) =>
        change(
          name,
          'forget-resource',
          options,
          (client) => forgetResource(client, name, resource, options),
          resource,
        ),
      ),
    'steward optimizer-group forget-resource flink taskmanager-7',
  );
}

async function create(client: StewardClient, name: string, options: CreateOptions): Promise<void> {
  const { container, optimizers, property: properties } = options;
  const settings = settingsOf(options);
  if (optimizers !== undefined) {
    if (settings.minParallelism !== undefined) {
      throw new UsageError(
        '--optimizers and --min-threads both say how many threads the group must have: give one',
      );
    }
    const { DEFAULT_GROUP_SETTINGS } = await import('../../rules/keeping.js');
    const threads = settings.threadsPerOptimizer ?? DEFAULT_GROUP_SETTINGS.threadsPerOptimizer;
    settings.minParallelism = optimizers * threads;
  }
  const creation = { name, container, settings, properties };
  const plan = client.optimizerGroups.plan(creation);
  if (options.dryRun) {
    await requireAbsent(client, name);
    print<OptimizerGroupPlanDocument>(options, { dryRun: true, plan }, () =>
      [
        `would make optimizer group ${name} of container ${plan.container}, with at least ${plan.settings.minParallelism} threads`,
        ...plan.warnings.map(warningText),
      ].join('\n'),
    );
    return;
  }
  await client.optimizerGroups.create(creation);
  for (const warning of plan.warnings) printLine(warningText(warning));
  const group = await client.optimizerGroups.get(name);
  print<OptimizerGroupDocument>(options, { group }, () =>
    [
      `made optimizer group ${name}: its keeper requests ${group.settings.minParallelism} threads`,
      `look at it with: steward optimizer-group show ${name}`,
    ].join('\n'),
  );
}

async function scale(
  client: StewardClient,
  name: string,
  options: ChangeOptions & SettingOptions,
): Promise<void> {
  const settings = settingsOf(options);
  if (Object.keys(settings).length === 0) {
    throw new UsageError('nothing to set: name at least one of the options, such as --min-threads 8');
  }
  if (options.dryRun) {
    const group = await client.optimizerGroups.get(name);
    print<OptimizerGroupChangeDocument>(
      options,
      { dryRun: true, plan: { group, action: 'scale', settings } },
      () =>
        [
          `would set of optimizer group ${name}:`,
          ...Object.entries(settings).map(
            ([key, value]) => `  ${key}: ${value} (is ${group.settings[key as keyof GroupSettings]})`,
          ),
        ].join('\n'),
    );
    return;
  }
  const { warnings } = await client.optimizerGroups.scale(name, settings);
  for (const warning of warnings) printLine(warningText(warning));
  const group = await client.optimizerGroups.get(name);
  print<OptimizerGroupChangeDocument>(options, { group, warnings }, () => optimizerGroupText(group));
}

async function change(
  name: string,
  action: 'pause' | 'resume' | 'restart-now' | 'reset' | 'forget-resource',
  options: ChangeOptions,
  update: (client: StewardClient) => Promise<void>,
  resourceId?: string,
): Promise<void> {
  await withClient(options, async (client) => {
    const target = `optimizer group ${name}${resourceId === undefined ? '' : `, resource ${resourceId}`}`;
    if (options.dryRun) {
      const group = await client.optimizerGroups.get(name);
      const plan = { group, action, ...(resourceId !== undefined && { resourceId }) };
      print<OptimizerGroupChangeDocument>(options, { dryRun: true, plan }, () =>
        [`would ${action}: ${target}`, optimizerGroupText(group)].join('\n'),
      );
      return;
    }
    await update(client);
    const group = await client.optimizerGroups.get(name);
    print<OptimizerGroupChangeDocument>(options, { group, warnings: [] }, () =>
      [`${action}: ${target}`, optimizerGroupText(group)].join('\n'),
    );
  });
}

async function forgetResource(
  client: StewardClient,
  name: string,
  resourceId: string,
  options: ForgetOptions,
): Promise<void> {
  const { resources } = await client.optimizerGroups.get(name);
  const found = resources.find((resource) => resource.resourceId === resourceId);
  if (found === undefined) throw await unknownResource(name, resourceId, resources);
  await confirm(options, async () =>
    found.optimizer?.alive
      ? undefined
      : `forget resource ${resourceId} of optimizer group ${name} (${aboutText(found)})`,
  );
  await client.optimizerGroups.forgetResource(name, resourceId);
}

async function unknownResource(
  name: string,
  resourceId: string,
  resources: readonly OptimizerResource[],
): Promise<Error> {
  const { StewardError } = await import('../../client/errors.js');
  const known =
    resources.length === 0
      ? 'it has none'
      : `known are ${resources.map((resource) => resource.resourceId).join(', ')}`;
  return new StewardError('NOT_FOUND', `optimizer group ${name} has no resource ${resourceId}: ${known}`);
}

/** `ACTIVE, container local, on node-1, its optimizer is silent for 5m` */
function aboutText({ state, container, nodeId, optimizer }: OptimizerResource): string {
  return [
    state,
    `container ${container}`,
    ...(nodeId === undefined ? [] : [`on ${nodeId}`]),
    optimizer === undefined
      ? 'no optimizer is registered'
      : `its optimizer is silent for ${formatDuration(optimizer.silentMs)}`,
  ].join(', ');
}

function groupTable(groups: readonly OptimizerGroup[]): string {
  return listing(
    [
      { title: 'GROUP' },
      { title: 'CONTAINER' },
      { title: 'LIVE', align: 'right' },
      { title: 'THREADS', align: 'right' },
      { title: 'MINIMUM', align: 'right' },
      { title: 'RESTARTS' },
      { title: 'TABLES', align: 'right' },
      { title: 'WAITING', align: 'right' },
    ],
    groups.map(({ settings, ...one }) => [
      one.name,
      one.container,
      `${one.liveOptimizers}/${one.resources.length}`,
      one.liveThreads,
      settings.minParallelism,
      settings.autoRestart ? `after ${formatDuration(settings.gracePeriodMs)}` : 'no',
      one.tables,
      one.plannedTasks,
    ]),
    'no optimizer groups; make one with: steward optimizer-group create <name>',
  );
}

function settingOptions(command: Command): Command {
  return command
    .option('--threads <n>', 'most threads of one optimizer', wholeNumber(1, MAX_OPTIMIZER_THREADS))
    .option('--memory <size>', 'of one optimizer, such as 512MB or 2GB', memory)
    .option('--min-threads <n>', 'threads that the group must have', wholeNumber(0, MAX_THREADS))
    .option('--auto-restart', 'restart optimizers that died')
    .option('--max-retries <n>', 'restarts of one orphan before it is given up', wholeNumber(0, MAX_COUNT))
    .option('--grace <duration>', 'before a restart, and between restarts', duration)
    .option('--heartbeat-timeout <duration>', 'an optimizer that is silent for longer is gone', duration)
    .option(
      '--keeping-attempts <n>',
      'requests in vain after which the minimum is given up; 0: never',
      wholeNumber(0, MAX_COUNT),
    );
}

type Changed = { -readonly [K in keyof GroupSettings]?: GroupSettings[K] };

function settingsOf(options: SettingOptions): Changed {
  const { threads, memory: memoryMb, minThreads, autoRestart, maxRetries, grace } = options;
  const { heartbeatTimeout, keepingAttempts } = options;
  return {
    ...(threads !== undefined && { threadsPerOptimizer: threads }),
    ...(memoryMb !== undefined && { memoryMbPerOptimizer: memoryMb }),
    ...(minThreads !== undefined && { minParallelism: minThreads }),
    ...(autoRestart !== undefined && { autoRestart }),
    ...(maxRetries !== undefined && { maxRetries }),
    ...(grace !== undefined && { gracePeriodMs: grace }),
    ...(heartbeatTimeout !== undefined && { heartbeatTimeoutMs: heartbeatTimeout }),
    ...(keepingAttempts !== undefined && { maxKeepingAttempts: keepingAttempts }),
  };
}

/** Megabytes of `512MB` or `2GB`. */
function memory(text: string): number {
  const match = /^(\d{1,7})(MB|GB)$/i.exec(text);
  const size =
    match === null ? Number.NaN : Number(match[1]) * (match[2]!.toUpperCase() === 'GB' ? 1_024 : 1);
  if (size >= MIN_OPTIMIZER_MEMORY_MB && size <= MAX_OPTIMIZER_MEMORY_MB) return size;
  throw new InvalidArgumentError(
    `Expected a size from ${MIN_OPTIMIZER_MEMORY_MB}MB to ${MAX_OPTIMIZER_MEMORY_MB / 1_024}GB.`,
  );
}

function property(text: string, before: Readonly<Record<string, string>> = {}): Record<string, string> {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('Expected <key>=<value>.');
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}

function warningText(warning: string): string {
  return `WARN ${warning}`;
}

async function requireAbsent(client: StewardClient, name: string): Promise<void> {
  const { StewardError } = await import('../../client/errors.js');
  const groups = await client.optimizerGroups.list();
  if (!groups.some((group) => group.name === name)) return;
  throw new StewardError('ALREADY_EXISTS', `optimizer group ${name} exists already`);
}
