import { chmodSync, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Client } from 'pg';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { RunningProcess } from '../../src/local/child-process.js';
import { isFree } from '../../src/local/ports.js';
import { accountsToTry, chooseAccount } from '../../src/local/postgres-account.js';
import { type PostgresOptions, preparePostgres } from '../../src/local/postgres-server.js';
import { identityOf, isAlive } from '../../src/process-identity.js';
import { eventually } from '../support/eventually.js';
import { killWithUs, temporaryDirectory } from '../support/guard.js';
import { freePort } from '../support/ports.js';

let directory: ReturnType<typeof temporaryDirectory>;
let options: PostgresOptions;
let servers: RunningProcess[];
let lines: string[];

beforeEach(async () => {
  // mkdtemp makes it 0700: nobody but us can reach anything below.
  directory = temporaryDirectory('postgres');
  lines = [];
  servers = [];
  options = {
    directory: join(directory.path, 'data', 'postgres'),
    port: await freePort(),
    logFile: join(directory.path, 'postgres.log'),
    print: (line) => void lines.push(line),
  };
});
afterEach(async () => {
  for (const server of servers) await server.kill();
  await directory.remove();
});

async function start(more: Partial<PostgresOptions> = {}) {
  const prepared = await preparePostgres({ ...options, ...more });
  const server = await prepared.start();
  killWithUs(server.identity);
  servers.push(server);
  return { ...prepared, server };
}

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new Client({ connectionString: url });
  client.on('error', () => {});
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

const pidFile = () => join(options.directory, 'data', 'postmaster.pid');
const asRoot = process.getuid?.() === 0;

test('serves in a directory that only we can reach, with its password in a file that only we can read', async () => {
  const { url, server } = await start();
  expect(statSync(directory.path).mode & 0o777).toBe(0o700);
  expect(await query(url, 'SHOW fsync')).toEqual([{ fsync: 'on' }]);
  expect(await query(url, 'SHOW listen_addresses')).toEqual([{ listen_addresses: '127.0.0.1' }]);
  expect(statSync(join(options.directory, 'password')).mode & 0o777).toBe(0o600);
  expect(url).toContain(readFileSync(join(options.directory, 'password'), 'utf8').trim());
  await expect(query(url.replace(/:[^:@]+@/, ':wrong@'), 'SELECT 1')).rejects.toThrow('password');
  await server.stop();
  expect(isAlive(server.identity)).toBe(false);
  expect(await isFree(options.port)).toBe(true);
});

test('keeps data, password and URL from start to start', async () => {
  const first = await start();
  await query(first.url, "CREATE TABLE kept AS SELECT 'here' AS value");
  expect(await first.server.stop()).toMatchObject({ code: 0 });
  const second = await start();
  expect(second.url).toBe(first.url);
  expect(await query(second.url, 'SELECT value FROM kept')).toEqual([{ value: 'here' }]);
});

test('recovers after SIGKILL, with what was committed', async () => {
  const first = await start();
  await query(first.url, "CREATE TABLE kept AS SELECT 'here' AS value");
  await first.server.kill();
  expect(existsSync(pidFile())).toBe(true);
  const second = await start();
  expect(await query(second.url, 'SELECT value FROM kept')).toEqual([{ value: 'here' }]);
});

test('the pid of a crashed server that belongs to another process by now holds nothing up', async () => {
  const first = await start();
  await first.server.kill();
  const recorded = readFileSync(pidFile(), 'utf8').split('\n');
  writeFileSync(pidFile(), [process.pid, ...recorded.slice(1)].join('\n'));
  const { url } = await start();
  expect(await query(url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
});

test('a server of an earlier run that nobody knows any more is stopped first', async () => {
  const former = await start();
  const { server } = await start();
  expect(isAlive(former.server.identity)).toBe(false);
  expect(isAlive(server.identity)).toBe(true);
  expect(lines.join()).toContain(`pid ${former.server.pid}`);
});

test('what a crash in the middle of initdb left is removed, and the cluster made', async () => {
  const data = join(directory.path, 'data');
  await mkdir(join(data, 'postgres.init-crashed', 'data'), { recursive: true });
  const { url } = await start();
  expect(await query(url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  expect(readdirSync(data)).toEqual(['postgres']);
});

test('a damaged cluster is not replaced by an empty one', async () => {
  await mkdir(join(options.directory, 'data', 'base'), { recursive: true });
  await expect(start()).rejects.toThrow(`${options.directory} is not empty and holds no PostgreSQL cluster`);
  expect(existsSync(join(options.directory, 'data', 'base'))).toBe(true);
});

test('a server that cannot start says why, and which log to read', async () => {
  const prepared = await preparePostgres(options);
  writeFileSync(join(options.directory, 'data', 'postgresql.auto.conf'), 'nonsense = 1\n');
  const failure = await prepared.start().catch((error: unknown) => error);
  expect((failure as Error).message).toMatch(/^postgres ended with code 1 before it was ready/);
  expect((failure as Error).message).toContain(options.logFile);
  expect((failure as Error).message).toContain('nonsense');
});

describe.runIf(asRoot)('as root', () => {
  test('each account that works here runs the same cluster after the other', async () => {
    const open = join('/tmp', directory.path.split('/').at(-1) ?? '');
    chmodSync(open, 0o755);
    const accounts = await accountsToTry();
    let table = 0;
    for (const account of [...accounts, ...accounts.slice(0, 1)]) {
      // Which ones work depends on the machine (its users, namespaces) and on who can reach the checkout.
      const started = await start({ accounts: [account] }).catch((error: Error) => error);
      if (started instanceof Error) {
        expect(started.message).toContain('PostgreSQL refuses to run as root');
        continue;
      }
      const { url, server, account: chosen } = started;
      expect(chosen).toBe(account.description);
      await query(url, `CREATE TABLE t${table++} ()`);
      const rows = await query(url, "SELECT count(*)::int AS n FROM pg_tables WHERE tablename ~ '^t[0-9]$'");
      expect(rows).toEqual([{ n: table }]);
      await server.stop();
    }
    expect(table).toBeGreaterThan(0);
  });

  test('an account that cannot reach the directory is passed over; without any, one error says what to do', async () => {
    const accounts = await accountsToTry();
    const others = accounts.filter(({ uid }) => uid !== undefined);
    await mkdir(join(directory.path, 'closed'), { mode: 0o700 });
    const needs = { program: '/bin/true', directory: join(directory.path, 'closed') };
    const failure = (await chooseAccount(needs, others).catch((error: unknown) => error)) as Error;
    expect(failure.message).toContain('PostgreSQL refuses to run as root');
    expect(failure.message).toContain('as user nobody (uid 65534): cannot write');
    expect(failure.message).toContain('DATABASE_URL');
    expect((await chooseAccount(needs, [...others, ...accounts])).uid).toBeUndefined();
  });
});

test('when the server is killed, its own processes end too', async () => {
  const { server, url } = await start();
  const [row] = await query(url, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'");
  const checkpointer = identityOf((row as { pid: number }).pid);
  expect(checkpointer).toBeDefined();
  await server.kill();
  await eventually('the checkpointer is gone', () => checkpointer && !isAlive(checkpointer));
});
