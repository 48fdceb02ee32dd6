import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import type { RunningProcess } from '../../src/local/child-process.js';
import { preparePostgres } from '../../src/local/postgres-server.js';
import { findTemporalBinary } from '../../src/local/temporal-binary.js';
import { killWithUs, sweepTemporaryDirectories, temporaryDirectory } from './guard.js';
import { freePort } from './ports.js';

/** What every test file needs, or why it could not be had: only the tests that ask for it fail then. */
export type Provided = { value: string } | { problem: string };

declare module 'vitest' {
  interface ProvidedContext {
    /** A superuser's URL of the PostgreSQL that all test files share. */
    postgres: Provided;
    /** The path of the `temporal` program. */
    temporalBinary: Provided;
  }
}

let postgres: RunningProcess | undefined;
let removeDirectory: (() => Promise<void>) | undefined;

/** Once for a whole run: a PostgreSQL on a free port, and the Temporal program, built when the machine has none. */
export async function setup(project: TestProject): Promise<void> {
  sweepTemporaryDirectories();
  const [database, temporal] = await Promise.all([
    provided(startPostgres),
    provided(async () => (await findTemporalBinary({ print: console.error })).path),
  ]);
  project.provide('postgres', database);
  project.provide('temporalBinary', temporal);
}

export async function teardown(): Promise<void> {
  await postgres?.stop();
  await removeDirectory?.();
}

async function startPostgres(): Promise<string> {
  const { path, remove } = temporaryDirectory('postgres');
  removeDirectory = remove;
  const prepared = await preparePostgres({
    directory: join(path, 'cluster'),
    port: await freePort(),
    logFile: join(path, 'postgres.log'),
    unsafeFast: true,
  });
  postgres = await prepared.start();
  killWithUs(postgres.identity);
  return prepared.url;
}

async function provided(get: () => Promise<string>): Promise<Provided> {
  try {
    return { value: await get() };
  } catch (error) {
    const problem = (error as Error).message;
    console.error(problem);
    return { problem };
  }
}
