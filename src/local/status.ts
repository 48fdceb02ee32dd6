import picocolors from 'picocolors';
import { isAlive } from '../process-identity.js';
import { layoutOf } from './layout.js';
import { type ProcessState, readStack } from './stack-file.js';

/** What `steward local status` tells; also its JSON document. */
export interface LocalStatus {
  /** `crashed`: the supervisor is gone without a stop; what it left is named, and ended by the next start or stop. */
  state: 'stopped' | 'starting' | 'running' | 'stopping' | 'crashed';
  supervisorPid: number | undefined;
  processes: {
    name: string;
    /** `left-over`: runs although the supervisor is gone. */
    state: ProcessState | 'left-over';
    pid: number | undefined;
    restarts: number;
    log: string;
  }[];
  webUi: string | undefined;
  temporal: string | undefined;
  temporalNamespace: string | undefined;
  coordinator: string | undefined;
  nodes: Record<string, string>;
  /** Without its password, which is in `stackFile`. */
  database: string | undefined;
  directories: { home: string; data: string; logs: string };
  /** Everything that programs need to connect; only its owner can read it. */
  stackFile: string;
}

/** Looks at what the stack in a home has written, and at the processes themselves. */
export function statusOf(home: string): LocalStatus {
  const { data, logs, stackFile } = layoutOf(home);
  const stack = readStack(home);
  const supervised = stack !== undefined && isAlive(stack.supervisor);
  const { addresses } = stack ?? {};
  return {
    state: stack === undefined ? 'stopped' : supervised ? stack.state : 'crashed',
    supervisorPid: supervised ? stack.supervisor.pid : undefined,
    processes: (stack?.processes ?? []).map(({ name, state, identity, restarts, log }) => {
      const alive = identity !== undefined && isAlive(identity);
      return {
        name,
        state: supervised ? state : alive ? 'left-over' : 'stopped',
        pid: alive ? identity.pid : undefined,
        restarts,
        log,
      };
    }),
    webUi: addresses?.webUi,
    temporal: addresses?.temporal,
    temporalNamespace: addresses?.temporalNamespace,
    coordinator: addresses?.coordinator,
    nodes: addresses?.nodes ?? {},
    database: addresses === undefined ? undefined : withoutPassword(addresses.databaseUrl),
    directories: { home, data, logs },
    stackFile,
  };
}

/** Only on a terminal: picocolors by itself also colours where CI is set. */
const colors = picocolors.createColors(
  process.stdout.isTTY === true && !process.env['NO_COLOR'] && process.env['TERM'] !== 'dumb',
);

/** The page that a person sees after a start and with `steward local status`. */
export function renderStatus(status: LocalStatus): string {
  const { directories } = status;
  const head = {
    stopped: `${colors.bold('Steward is stopped.')} Start it with: npx steward local start`,
    starting: `${colors.yellow('Steward is starting')} (supervisor pid ${status.supervisorPid})`,
    running: `${colors.green('Steward is running')} (supervisor pid ${status.supervisorPid})`,
    stopping: `${colors.yellow('Steward is stopping')} (supervisor pid ${status.supervisorPid})`,
    crashed: `${colors.red('The supervisor of Steward was killed.')} Go on from its data with: npx steward local start; or clean up with: npx steward local stop`,
  }[status.state];
  const places: [string, string | undefined][] = [
    ['Web UI', status.webUi],
    ['Temporal', status.temporal && `${status.temporal} (namespace ${status.temporalNamespace})`],
    ['Coordinator', status.coordinator],
    ...Object.entries(status.nodes),
    ['PostgreSQL', status.database],
    ['Data', directories.data],
    ['Logs', directories.logs],
  ];
  const known = places.filter((place): place is [string, string] => place[1] !== undefined);
  return [
    head,
    '',
    ...columns(known).map((line) => `  ${line}`),
    ...(status.processes.length === 0
      ? []
      : [
          '',
          ...columns([
            ['PROCESS', 'STATE', 'PID', 'RESTARTS'],
            ...status.processes.map(({ name, state, pid, restarts }) => [
              name,
              state,
              pid === undefined ? '-' : String(pid),
              String(restarts),
            ]),
          ]).map((line) => `  ${line}`),
        ]),
    '',
  ].join('\n');
}

function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? '').length)),
  );
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

function withoutPassword(url: string): string {
  try {
    const parsed = new URL(url);
    if (parsed.password !== '') parsed.password = '***';
    return parsed.href;
  } catch {
    return '(not a URL)';
  }
}
