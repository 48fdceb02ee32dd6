import { type Command, Option } from 'commander';
import type { Fault, FaultKind } from '../../client/index.js';
import { EFFECT_TARGETS } from '../../rules/fault-targets.js';
import { withClient } from '../connection.js';
import type { FaultsDocument } from '../documents.js';
import { formatDuration } from '../duration.js';
import { UsageError } from '../failure.js';
import { type ChangeOptions, connects, duration, example, plans, wholeNumber } from '../options.js';
import { listing } from '../render.js';
import { print } from '../terminal.js';

/** The delay of `--busy` alone. */
const BUSY_FOR = '1s';
const MAX_TIMES = 1_000_000;

export interface FaultOptions extends ChangeOptions {
  readonly rpc?: string;
  readonly effect?: string;
  readonly delay?: number;
  readonly error?: string;
  readonly dropReply?: boolean;
  readonly dropRequest?: boolean;
  readonly duplicate?: boolean;
  readonly busy?: number;
  readonly fail?: string;
  readonly afterEffect?: boolean;
  readonly times?: number;
  readonly match?: string;
  readonly clear?: boolean;
  readonly list?: boolean;
}

/** `steward node fault` */
export function addFaultCommand(node: Command): void {
  example(
    plans(
      connects(
        node
          .command('fault')
          .description(
            'make a node misbehave, to see what happens; it must have been started with --allow-faults',
          )
          .argument('<node>')
          .optionsGroup('What is disturbed:')
          .addOption(
            new Option('--rpc <name>', 'a call to the node: any but GetNodeInfo').conflicts('effect'),
          )
          .addOption(
            new Option(
              '--effect <name>',
              'what an operation does, or a point of a task group at work',
            ).choices(EFFECT_TARGETS),
          )
          .option('--match <text>', 'only operations whose id contains this')
          .option('--times <n>', 'how often; default: until it is cleared', wholeNumber(1, MAX_TIMES))
          .optionsGroup('How:')
          .option('--delay <duration>', 'rpc: handled later; effect: takes longer', duration)
          .option('--error <code>', 'rpc: not handled, answers this Connect code, such as UNAVAILABLE')
          .option('--drop-reply', 'rpc: handled, the reply is lost')
          .option('--drop-request', 'rpc: not handled, never answered')
          .option('--duplicate', 'rpc: handled twice at once')
          .addOption(
            new Option('--busy [duration]', 'Submit: refuses what is new, to come again after this')
              .argParser(duration)
              .preset(BUSY_FOR),
          )
          .option('--fail <message>', 'effect: ends as FAIL')
          .option('--after-effect', 'with --fail: although it was done')
          .optionsGroup('Or:')
          .option('--list', 'show the faults of the node')
          .option('--clear', 'remove all, and let go of what they hold up')
          .optionsGroup('Options:'),
      ),
    ).action((nodeId: string, options: FaultOptions) => runFault(nodeId, options)),
    'steward node fault node-1 --effect delete-region --delay 20s --times 1',
    'steward node fault node-2 --rpc Submit --error UNAVAILABLE',
    'steward node fault node-2 --rpc Submit --drop-reply --times 3',
    'steward node fault node-2 --list',
    'steward node fault node-2 --clear',
  );
}

async function runFault(nodeId: string, options: FaultOptions): Promise<void> {
  const asked = whatIsAsked(options);
  if (asked.do === 'set') await requireKnown(asked.fault, options);
  await withClient(options, async (client) => {
    const faults = await client.nodes.faults(nodeId);
    const before = await faults.list();
    if (options.dryRun && asked.do !== 'list') {
      const plan = asked.do === 'set' ? { nodeId, add: asked.fault } : { nodeId, remove: before };
      print<FaultsDocument>(options, { dryRun: true, plan }, () =>
        asked.do === 'set'
          ? `would set at ${nodeId}: ${faultText(asked.fault)}`
          : `would remove from ${nodeId}:\n${faultTable(before)}`,
      );
      return;
    }
    if (asked.do === 'set') await faults.set(asked.fault);
    if (asked.do === 'clear') await faults.clear();
    const after = asked.do === 'list' ? before : await faults.list();
    print<FaultsDocument>(options, { nodeId, faults: after }, () => faultTable(after));
  });
}

/** What a command line asks for. Throws UsageError when that is nothing, or more than one thing. */
export function whatIsAsked(
  options: FaultOptions,
): { readonly do: 'list' } | { readonly do: 'clear' } | { readonly do: 'set'; readonly fault: Fault } {
  const { rpc, effect, times = 0, match, list, clear } = options;
  const target = rpc ?? effect;
  const kinds = kindsOf(options);
  if (list === true || clear === true) {
    if (target !== undefined || kinds.length > 0 || (list && clear)) {
      throw new UsageError('--list and --clear stand alone');
    }
    return { do: list ? 'list' : 'clear' };
  }
  if (target === undefined) throw new UsageError('say what is disturbed: --rpc <name> or --effect <name>');
  const [kind, other] = kinds;
  if (kind === undefined) {
    throw new UsageError(
      effect === undefined
        ? 'say how: --delay, --error, --drop-reply, --drop-request, --duplicate or --busy'
        : 'say how: --delay or --fail',
    );
  }
  if (other !== undefined)
    throw new UsageError('one fault at a time: give one of the ways, and repeat the command for more');
  if (options.afterEffect && kind.kind !== 'FAIL') throw new UsageError('--after-effect belongs to --fail');
  requireFit(kind, { rpc, effect });
  return { do: 'set', fault: { target, times, ...(match !== undefined && { match }), ...kind } };
}

function kindsOf(options: FaultOptions): FaultKind[] {
  const { delay, error, dropReply, dropRequest, duplicate, busy, fail, afterEffect = false } = options;
  return [
    ...(delay === undefined ? [] : [{ kind: 'DELAY' as const, delayMs: delay }]),
    ...(error === undefined ? [] : [{ kind: 'ERROR' as const, code: codeName(error) }]),
    ...(dropReply ? [{ kind: 'DROP_REPLY' as const }] : []),
    ...(dropRequest ? [{ kind: 'DROP_REQUEST' as const }] : []),
    ...(duplicate ? [{ kind: 'DUPLICATE' as const }] : []),
    ...(busy === undefined ? [] : [{ kind: 'BUSY' as const, retryAfterMs: busy }]),
    ...(fail === undefined ? [] : [{ kind: 'FAIL' as const, message: fail, afterEffect }]),
  ];
}

function requireFit(
  { kind }: FaultKind,
  { rpc, effect }: { readonly rpc: string | undefined; readonly effect: string | undefined },
): void {
  if (effect !== undefined && kind !== 'DELAY' && kind !== 'FAIL') {
    throw new UsageError('an effect can only be disturbed with --delay or --fail; the rest needs --rpc');
  }
  if (rpc !== undefined && kind === 'FAIL')
    throw new UsageError('--fail needs --effect: a call fails with --error');
  if (rpc !== 'Submit' && kind === 'BUSY') throw new UsageError('--busy needs --rpc Submit');
}

/** As Connect writes it; gRPC has it in capitals, and another spelling of one. */
function codeName(text: string): string {
  const name = text.toLowerCase();
  return name === 'cancelled' ? 'canceled' : name;
}

/** Against the descriptors of the contract, which help does without. */
async function requireKnown(fault: Fault, { rpc }: FaultOptions): Promise<void> {
  const { CODE_NAMES, RPC_TARGETS } = await import('../../rpc/worker-contract.js');
  if (rpc !== undefined && !RPC_TARGETS.includes(rpc)) {
    throw new UsageError(`--rpc ${rpc} cannot be disturbed: give one of ${RPC_TARGETS.join(', ')}`);
  }
  if (fault.kind === 'ERROR' && !CODE_NAMES.includes(fault.code)) {
    throw new UsageError(`--error ${fault.code} is no Connect code: give one of ${CODE_NAMES.join(', ')}`);
  }
}

function faultTable(faults: readonly Fault[]): string {
  return listing(
    [{ title: 'TARGET' }, { title: 'FAULT' }, { title: 'TIMES LEFT', align: 'right' }, { title: 'MATCH' }],
    faults.map((fault) => [
      fault.target,
      kindText(fault),
      fault.times === 0 ? 'all' : fault.times,
      fault.match ?? '',
    ]),
    'no faults',
  );
}

function faultText(fault: Fault): string {
  const times = fault.times === 0 ? 'until it is cleared' : `${fault.times} times`;
  return `${fault.target} ${kindText(fault)}, ${times}${fault.match === undefined ? '' : `, matching ${fault.match}`}`;
}

function kindText(fault: FaultKind): string {
  switch (fault.kind) {
    case 'DELAY':
      return `delay ${formatDuration(fault.delayMs)}`;
    case 'ERROR':
      return `error ${fault.code}`;
    case 'DROP_REPLY':
      return 'drop reply';
    case 'DROP_REQUEST':
      return 'drop request';
    case 'DUPLICATE':
      return 'duplicate';
    case 'BUSY':
      return `busy, come again after ${formatDuration(fault.retryAfterMs)}`;
    case 'FAIL':
      return `fail "${fault.message}"${fault.afterEffect ? ' after the effect' : ''}`;
  }
}
