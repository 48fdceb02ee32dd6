import { count, httpUrl, readFlags, UsageError } from '../command-line.js';
import { readTransport, type TransportSettings } from '../model/transport.js';
import { ProcessIdentity } from '../process-identity.js';
import {
  MAX_OPTIMIZER_MEMORY_MB,
  MAX_OPTIMIZER_THREADS,
  MIN_OPTIMIZER_MEMORY_MB,
  NODE_NAME,
  REQUEST_NAME,
} from '../rules/bounds.js';
import { type Disturbance, readProperties } from './properties.js';

/** How an optimizer process is started; see `USAGE`. */
export interface OptimizerOptions {
  readonly resourceId: string;
  readonly group: string;
  /** 0: no container started it. */
  readonly launch: number;
  readonly threads: number;
  readonly memoryMb: number;
  readonly coordinator: string;
  /** Node on whose disk the directory is; empty for none. */
  readonly nodeId: string;
  readonly directory: string;
  readonly transport: TransportSettings;
  readonly disturbance: Disturbance;
  /** Directory of the faults that a node sets for merges. */
  readonly faults: string | undefined;
  /** Ends when this process is gone. */
  readonly exitWith: ProcessIdentity | undefined;
}

export const USAGE = `usage: main.js --resource <id> --group <name> --coordinator <url> --directory <dir> [flags]
  --resource <id>          the resource that it works in the place of
  --group <name>           optimizer group that it polls tasks for
  --coordinator <url>      where it polls
  --directory <dir>        outbox, markers and spilled data; one process at a time works there
  --launch <n>             launch of the resource; default 0: no container started it
  --threads <n>            tasks at a time; default 1
  --memory-mb <n>          upper bound of the memory of all merges together; default 256
  --node <name>            the node that answers for the directory
  --property <key=value>   merge-delay-ms, merge-error, hold-at, start-delay-ms: docs/optimizing.md; others mean nothing
  --faults <dir>           faults of merges, as a node sets them
  --exit-with <pid@start>  end when that process is gone
  --exit-with-parent       end when stdin closes
Certificates and tokens: STEWARD_TLS_CERT, STEWARD_TLS_KEY, STEWARD_TLS_CA, STEWARD_TOKEN_FILE
exit codes: 0 stopped, 1 could not start, 2 wrong flags, 3 the coordinator said so, 4 the directory is not (any more) for it`;

const FLAGS = {
  resource: { type: 'string' },
  group: { type: 'string' },
  coordinator: { type: 'string' },
  directory: { type: 'string' },
  launch: { type: 'string', default: '0' },
  threads: { type: 'string', default: '1' },
  'memory-mb': { type: 'string', default: '256' },
  node: { type: 'string', default: '' },
  property: { type: 'string', multiple: true, default: [] as string[] },
  faults: { type: 'string' },
  'exit-with': { type: 'string' },
  'exit-with-parent': { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const;

/** Reads the command line; throws UsageError or WrongTransport. */
export function readOptions(args: readonly string[]): OptimizerOptions | 'help' {
  const values = readFlags(FLAGS, args);
  if (values.help) return 'help';
  const { coordinator, directory, node } = values;
  if (directory === undefined || directory === '') throw new UsageError('--directory must name a directory');
  if (node !== '' && !NODE_NAME.test(node)) throw new UsageError('--node must be the id of a node');
  return {
    resourceId: name('--resource', values.resource),
    group: name('--group', values.group),
    launch: count('--launch', values.launch, 0, Number.MAX_SAFE_INTEGER),
    threads: count('--threads', values.threads, 1, MAX_OPTIMIZER_THREADS),
    memoryMb: count('--memory-mb', values['memory-mb'], MIN_OPTIMIZER_MEMORY_MB, MAX_OPTIMIZER_MEMORY_MB),
    coordinator: httpUrl('--coordinator', coordinator ?? ''),
    nodeId: node,
    directory,
    transport: readTransport(),
    disturbance: disturbance(values.property),
    faults: values.faults,
    exitWith: exitWith(values['exit-with']),
  };
}

function name(flag: string, value: string | undefined): string {
  if (value !== undefined && REQUEST_NAME.test(value)) return value;
  throw new UsageError(`${flag} must be 1 to 63 letters, digits or . _ -, and start with a letter or digit`);
}

function disturbance(pairs: readonly string[]): Disturbance {
  const properties: Record<string, string> = {};
  for (const pair of pairs) {
    const at = pair.indexOf('=');
    if (at < 1) throw new UsageError(`--property must be <key>=<value>, not ${pair}`);
    properties[pair.slice(0, at)] = pair.slice(at + 1);
  }
  try {
    return readProperties(properties);
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

function exitWith(value: string | undefined): ProcessIdentity | undefined {
  if (value === undefined) return undefined;
  const at = value.indexOf('@');
  const identity = ProcessIdentity.safeParse({
    pid: Number(value.slice(0, at)),
    startedAt: value.slice(at + 1),
  });
  if (identity.success) return identity.data;
  throw new UsageError('--exit-with must be <pid>@<start>');
}
