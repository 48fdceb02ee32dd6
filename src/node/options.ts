import { count, httpUrl, listenAddress, readFlags, UsageError } from '../command-line.js';
import {
  readTransport,
  TRANSPORT_FLAGS,
  TRANSPORT_USAGE,
  type TransportSettings,
} from '../model/transport.js';
import { MAX_NODE_TASK_GROUPS, NODE_NAME } from '../rules/bounds.js';

/** How a node process is started; see `USAGE`. */
export interface NodeOptions {
  readonly id: string;
  readonly host: string;
  /** 0: a free one. */
  readonly port: number;
  readonly data: string;
  readonly coordinator: string | undefined;
  /** Base URL told to the coordinator; the one that is listened on when undefined. */
  readonly advertise: string | undefined;
  readonly allowFaults: boolean;
  readonly regions: 'disk' | 'ledger';
  readonly filesPerRegion: number;
  readonly fileBytes: number;
  readonly deleteFileMs: number;
  readonly maxPending: number;
  /** Task groups that run at a time. */
  readonly maxTaskGroups: number;
  /** How long the record of a task group's end is kept after its acknowledgement. */
  readonly taskGroupRetentionMs: number;
  /** How long a savepoint of a task group may take before it has failed. */
  readonly savepointLimitMs: number;
  readonly exitWithParent: boolean;
  readonly transport: TransportSettings;
}

export const USAGE = `usage: main.js --id <name> --data <dir> [flags]
  --id <name>              the node's id: lower-case letters, digits, . _ -
  --data <dir>             ledger and regions; made when it is missing
  --listen <host:port>     default 127.0.0.1:0; port 0 takes a free one
  --advertise <url>        what the coordinator is told; default: what is listened on
  --coordinator <url>      register there and send heartbeats; without it the node takes no task groups
  --allow-faults           serve FaultService
  --regions disk|ledger    directories with files (default), or ledger entries only
  --files-per-region <n>   default 8
  --file-bytes <n>         default 1024
  --delete-file-ms <n>     what removing a file takes at least; default 0
  --max-pending <n>        operations under way before the node is busy; default 10000
  --max-task-groups <n>    task groups that run at a time before the node is busy; default 64
  --task-group-retention-ms <n>
                           how long an acknowledged end of a task group is listed; default 60000
  --savepoint-limit-ms <n> how long a savepoint may take; default 30000
  --exit-with-parent       end when stdin closes
${TRANSPORT_USAGE}`;

const FLAGS = {
  id: { type: 'string' },
  data: { type: 'string' },
  listen: { type: 'string', default: '127.0.0.1:0' },
  advertise: { type: 'string' },
  coordinator: { type: 'string' },
  'allow-faults': { type: 'boolean', default: false },
  regions: { type: 'string', default: 'disk' },
  'files-per-region': { type: 'string', default: '8' },
  'file-bytes': { type: 'string', default: '1024' },
  'delete-file-ms': { type: 'string', default: '0' },
  'max-pending': { type: 'string', default: '10000' },
  'max-task-groups': { type: 'string', default: '64' },
  'task-group-retention-ms': { type: 'string', default: '60000' },
  'savepoint-limit-ms': { type: 'string', default: '30000' },
  'exit-with-parent': { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
  ...TRANSPORT_FLAGS,
} as const;

/** Reads the command line, and the transport settings of the environment; throws UsageError or WrongTransport. */
export function readOptions(args: readonly string[]): NodeOptions | 'help' {
  const values = readFlags(FLAGS, args);
  if (values.help) return 'help';
  const { id, data, regions } = values;
  if (id === undefined || !NODE_NAME.test(id)) {
    throw new UsageError(
      '--id must be 1 to 63 lower-case letters, digits or . _ -, and start with a letter or digit',
    );
  }
  if (data === undefined || data === '') throw new UsageError('--data must name a directory');
  if (regions !== 'disk' && regions !== 'ledger') throw new UsageError('--regions must be disk or ledger');
  return {
    id,
    data,
    regions,
    ...listenAddress(values.listen),
    coordinator: optionalUrl('--coordinator', values.coordinator),
    advertise: optionalUrl('--advertise', values.advertise),
    allowFaults: values['allow-faults'],
    filesPerRegion: count('--files-per-region', values['files-per-region'], 0, 100_000),
    fileBytes: count('--file-bytes', values['file-bytes'], 0, 1 << 30),
    deleteFileMs: count('--delete-file-ms', values['delete-file-ms'], 0, 3_600_000),
    maxPending: count('--max-pending', values['max-pending'], 1, 1_000_000),
    maxTaskGroups: count('--max-task-groups', values['max-task-groups'], 1, MAX_NODE_TASK_GROUPS),
    taskGroupRetentionMs: count(
      '--task-group-retention-ms',
      values['task-group-retention-ms'],
      0,
      1_000_000_000,
    ),
    savepointLimitMs: count('--savepoint-limit-ms', values['savepoint-limit-ms'], 1, 3_600_000),
    exitWithParent: values['exit-with-parent'],
    transport: readTransport(process.env, values),
  };
}

function optionalUrl(flag: string, value: string | undefined): string | undefined {
  return value === undefined ? undefined : httpUrl(flag, value);
}
