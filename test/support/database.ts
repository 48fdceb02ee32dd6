import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { Client } from 'pg';
import type { RunningProcess } from '../../src/local/child-process.js';
import { preparePostgres } from '../../src/local/postgres-server.js';
import { killWithUs, temporaryDirectory } from './guard.js';
import { freePort } from './ports.js';
import { provided } from './provided.js';

export interface TestDatabase {
  url: string;
  /** Disconnects whoever is connected, and drops the database. */
  drop(): Promise<void>;
}

/** A fresh, empty database in the PostgreSQL that this test run shares. */
export async function createDatabase(): Promise<TestDatabase> {
  const server = provided('postgres');
  const name = `test_${randomBytes(6).toString('hex')}`;
  await command(server, `CREATE DATABASE ${name}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  return { url: url.href, drop: () => command(server, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`) };
}

export interface TestPostgres {
  url: string;
  /** The running server; another one after `restart`. */
  readonly process: RunningProcess;
  /** Kills the server: a crash, from which `restart` recovers. */
  kill(): Promise<void>;
  /** On the same port, with the same data. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

/** A PostgreSQL of one's own; unless `durable`, what it committed last is lost when it is killed. */
export async function startPostgres(options: { durable?: boolean } = {}): Promise<TestPostgres> {
  const directory = temporaryDirectory('postgres');
  const prepared = await preparePostgres({
    directory: join(directory.path, 'cluster'),
    port: await freePort(),
    logFile: join(directory.path, 'postgres.log'),
    unsafeFast: options.durable !== true,
  });
  let process = await prepared.start();
  killWithUs(process.identity);
  return {
    url: prepared.url,
    get process() {
      return process;
    },
    async kill() {
      await process.kill();
    },
    async restart() {
      await process.stop();
      process = await prepared.start();
      killWithUs(process.identity);
    },
    async stop() {
      await process.stop();
      await directory.remove();
    },
  };
}

async function command(url: string, sql: string): Promise<void> {
  const client = new Client({ connectionString: url });
  client.on('error', () => {});
  try {
    await client.connect();
    await client.query(sql);
  } finally {
    await client.end();
  }
}
