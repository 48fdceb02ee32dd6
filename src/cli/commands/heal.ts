import { type Command, Option } from 'commander';
import type { HealBreaker, HealResult, HealStatus, StewardClient } from '../../client/index.js';
import { counted } from '../../rules/counted.js';
import { DEFAULT_GRACES } from '../../rules/stuck.js';
import { withClient } from '../connection.js';
import type {
  BreakerAcknowledgedDocument,
  HealPlanDocument,
  HealStatusDocument,
  OperationEndDocument,
} from '../documents.js';
import {
  type ChangeOptions,
  type ConnectionOptions,
  changes,
  connects,
  duration,
  example,
  type WaitingOptions,
  waits,
} from '../options.js';
import { details, listing } from '../render.js';
import type { Cell } from '../table.js';
import { colors, print } from '../terminal.js';
import { operationEnd, waitFor } from '../wait.js';
import { lookAgain } from '../words.js';

interface HealRunOptions extends WaitingOptions {
  readonly mode: 'observe' | 'repair';
  readonly table?: string;
  /** Milliseconds. */
  readonly grace?: number;
}

/** `steward heal` */
export function addHealCommands(program: Command): void {
  const heal = program
    .command('heal')
    .description('optimizing processes that are stuck before their commit; a schedule heals them as well');

  example(
    waits(
      heal
        .command('run')
        .description('find and heal what is stuck, at once')
        .option('--table <name>', 'only this table')
        .addOption(
          new Option('--mode <mode>', 'observe reports, repair heals')
            .choices(['observe', 'repair'])
            .default('repair'),
        )
        .addOption(
          new Option(
            '--grace <duration>',
            'instead of every grace: what has been so for longer is stuck',
          ).argParser(duration),
        ),
    ).action((options: HealRunOptions) => withClient(options, (client) => run(client, options))),
    'steward heal run',
    'steward heal run --table orders --grace 0s',
    'steward heal run --mode observe',
  );

  example(
    connects(heal.command('status').description('the breaker, and what the last cycle found')).action(
      (options: ConnectionOptions) =>
        withClient(options, async (client) => {
          const status = await client.heals.status();
          print<HealStatusDocument>(options, status, () => statusText(status));
        }),
    ),
    'steward heal status',
  );

  example(
    changes(
      heal.command('ack').description('let heals go on after the breaker opened: you looked at the cause'),
    ).action((options: ChangeOptions) => withClient(options, (client) => acknowledge(client, options))),
    'steward heal ack',
  );
}

async function run(client: StewardClient, options: HealRunOptions): Promise<void> {
  const { mode, table, grace } = options;
  // A table that is not there has nothing stuck, which is not what was asked.
  if (table !== undefined) await client.tables.get(table);
  if (options.dryRun) {
    const plan = {
      mode,
      ...(table !== undefined && { table }),
      ...(grace !== undefined && { graceMs: grace }),
    };
    print<HealPlanDocument>(options, { dryRun: true, plan }, () =>
      mode === 'repair'
        ? `would heal ${table === undefined ? 'every stuck process' : `table ${table}`}; see which with: steward heal run --mode observe`
        : 'would look for stuck processes, and change nothing',
    );
    return;
  }
  const graces =
    grace === undefined
      ? undefined
      : Object.fromEntries(Object.keys(DEFAULT_GRACES).map((key) => [key, grace]));
  const handle = await client.heals.run({ mode, table, graces });
  const waited = await waitFor(mode === 'repair' ? 'healing' : 'looking', handle, options);
  print<OperationEndDocument>(options, { operation: operationEnd(handle, waited) }, () =>
    waited.outcome === 'DONE'
      ? healText(waited.result)
      : `started ${handle.operationId}; look at it with: ${lookAgain(handle.operationId)}`,
  );
}

async function acknowledge(client: StewardClient, options: ChangeOptions): Promise<void> {
  if (options.dryRun) {
    const breaker = await client.heals.breaker();
    print<BreakerAcknowledgedDocument>(options, { dryRun: true, plan: { breaker } }, () =>
      breaker.state === 'OPEN'
        ? ['would acknowledge:', details(breakerLines(breaker))].join('\n')
        : `nothing to acknowledge: the breaker is ${breaker.state}`,
    );
    return;
  }
  const breaker = await client.heals.acknowledge();
  print<BreakerAcknowledgedDocument>(options, { breaker }, () =>
    ['heals go on', details(breakerLines(breaker))].join('\n'),
  );
}

function statusText({ breaker, last, lastHealed }: HealStatus): string {
  return [
    details([
      ...breakerLines(breaker),
      ['last cycle', last === undefined ? 'none has ended yet' : last.endedAt],
      ['  operation', last?.operationId],
      [
        'last heal',
        lastHealed &&
          `${lastHealed.endedAt}: ${lastHealed.result.healed.map(({ table }) => table).join(', ')}`,
      ],
      ['  operation', lastHealed?.operationId],
    ]),
    ...(last === undefined ? [] : ['', healText(last.result)]),
    ...(breaker.state === 'OPEN'
      ? ['', 'nothing is healed until you let it: find the common cause, then: steward heal ack']
      : []),
  ].join('\n');
}

function breakerLines(breaker: HealBreaker): (readonly [string, Cell | undefined])[] {
  const paint = { OPEN: colors.red, ACKNOWLEDGED: colors.yellow, CLOSED: colors.green } as const;
  return [
    ['breaker', { text: breaker.state, paint: paint[breaker.state] }],
    ['reason', breaker.reason],
    ['since', breaker.since],
    ['acknowledged by', breaker.acknowledgedBy],
  ];
}

/** What a cycle found and did. */
export function healText(result: HealResult): string {
  const { stuck, total, healed, failed, anomalies, unanswered, breaker, mode } = result;
  const done = (table: string, shape: string) =>
    healed.find((one) => one.table === table && one.shape === shape)?.outcome ??
    failed.find((one) => one.table === table && one.shape === shape)?.cause ??
    '';
  const table = listing(
    [
      { title: 'TABLE' },
      { title: 'PROCESS', align: 'right' },
      { title: 'SHAPE' },
      { title: 'STATUS' },
      { title: mode === 'repair' ? 'HEALED' : '' },
    ],
    stuck.map((one) => [one.table, one.processId, one.shape, one.status, done(one.table, one.shape)]),
    'nothing is stuck',
  );
  return [
    table,
    ...(total > stuck.length ? [`and ${total - stuck.length} more, in the next cycles`] : []),
    ...anomalies.map(
      ({ name, kind, table: status }) => `not healed, look at it: ${name} (${status}): ${kind}`,
    ),
    ...unanswered.map((node) => `${node} does not answer for its optimizers: asked again in the next cycle`),
    ...(failed.length > 0 ? [`${counted(failed.length, 'heal')} failed, tried again in the next cycle`] : []),
    ...(breaker.state === 'OPEN' && mode === 'repair' && total > 0
      ? [`nothing was healed, the breaker is open: ${breaker.reason}; see: steward heal status`]
      : []),
  ].join('\n');
}
