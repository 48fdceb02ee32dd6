import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import {
  DummyDriver,
  Kysely,
  type Migration,
  Migrator,
  PostgresAdapter,
  PostgresQueryCompiler,
  sql,
} from 'kysely';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Catalog, migrateCatalog, migrationStatus, requireMigrated } from '../../src/catalog/catalog.js';
import { migrations } from '../../src/catalog/migrations.js';
import { StewardClient } from '../../src/client/index.js';
import { openTestCatalog } from '../support/catalog.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { temporaryDirectory } from '../support/guard.js';
import { startProgram, type TestProcess } from '../support/processes.js';
import { breaks, readSchema } from './catalog-schema.js';

/**
 * Migrations that were released, and the hash of what each of them runs. `npm run catalog:release` adds those that are new;
 * what is in it already is never changed.
 */
const RELEASED = fileURLToPath(new URL('./released-migrations.json', import.meta.url));
const released = JSON.parse(readFileSync(RELEASED, 'utf8')) as Record<string, string>;
const before = Object.keys(released);

const cleanUps: (() => Promise<unknown>)[] = [];
let database: TestDatabase;
beforeAll(async () => {
  database = await createDatabase();
  cleanUps.push(() => database.drop());
});
afterAll(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

test.runIf(process.env['RELEASE_CATALOG'] !== undefined)(
  'releases the migrations of this version',
  async () => {
    const hashes = { ...(await hashesOfAll()), ...released };
    writeFileSync(RELEASED, `${JSON.stringify(hashes, undefined, 2)}\n`);
  },
);

test('no released migration was changed, taken away, or put behind a new one', async () => {
  const hashes = await hashesOfAll();
  const names = Object.keys(migrations);
  expect(names, 'they run in the order of their names').toEqual([...names].sort());
  expect(names.slice(0, before.length), 'new migrations come after the released ones').toEqual(before);
  const changed = before.filter((name) => hashes[name] !== released[name]);
  expect(changed, 'catalogs have run them already: put them back, and write a new migration').toEqual([]);
});

test('what was released runs on the catalog of today: nothing it uses is gone, nothing it writes is refused', async () => {
  const [old, today] = await Promise.all([
    schemaAfter(before.at(-1)!),
    schemaAfter(Object.keys(migrations).at(-1)!),
  ]);
  expect(
    breaks(old, today),
    'expand now and contract a version later: docs/production.md, "Upgrade"',
  ).toEqual([]);
});

test.each([
  ['DROP TABLE savepoint', 'table savepoint is gone'],
  ['DROP SEQUENCE claim_epoch', 'sequence claim_epoch is gone'],
  ['ALTER TABLE node DROP COLUMN address', 'column node.address is gone'],
  ['ALTER TABLE node RENAME COLUMN address TO url', 'column node.address is gone'],
  ['ALTER TABLE savepoint RENAME TO savepoints', 'table savepoint is gone'],
  ['ALTER TABLE node ALTER COLUMN address TYPE varchar', 'column node.address was text and is varchar'],
  [
    'ALTER TABLE sighting ALTER COLUMN repair_epoch SET NOT NULL',
    'column sighting.repair_epoch must not be null',
  ],
  ['ALTER TABLE node ALTER COLUMN address DROP NOT NULL', 'column node.address may be null now'],
  ['ALTER TABLE replica ALTER COLUMN attempt DROP DEFAULT', 'column replica.attempt has no default any more'],
  ['ALTER TABLE node ADD COLUMN zone text NOT NULL', 'column node.zone is new, NOT NULL and has no default'],
  ['ALTER TABLE node ADD CHECK (incarnation < 100)', 'table node has a new rule'],
  ['CREATE UNIQUE INDEX node_address ON node (address)', 'table node has a new rule'],
  [
    `ALTER TABLE breaker DROP CONSTRAINT breaker_state_check, ADD CHECK (state IN ('OPEN', 'CLOSED'))`,
    'table breaker has a new rule',
  ],
])('%s is found to break the version before', async (statement, reason) => {
  expect((await brokenBy(statement))[0]).toContain(reason);
});

test.each([
  'CREATE TABLE zone (name text PRIMARY KEY, node_id text NOT NULL REFERENCES node)',
  'ALTER TABLE node ADD COLUMN zone text',
  'ALTER TABLE node ADD COLUMN zones int CHECK (zones > 0), ADD COLUMN beside text UNIQUE REFERENCES node',
  `ALTER TABLE node ADD COLUMN zone text NOT NULL DEFAULT ''`,
  'CREATE INDEX node_address ON node (address)',
  `ALTER TABLE breaker DROP CONSTRAINT breaker_state_check,
     ADD CHECK (state IN ('OPEN', 'HALF_OPEN', 'ACKNOWLEDGED', 'CLOSED'))`,
])('%s breaks nothing', async (statement) => {
  expect(await brokenBy(statement)).toEqual([]);
});

test('a coordinator starts and serves on a catalog that a newer version has migrated, and tells of it', async () => {
  const { url } = await catalogMigratedTo(Object.keys(migrations).at(-1)!);
  const catalog = openTestCatalog(url, 1);
  cleanUps.push(() => catalog.destroy());
  await sql`
    CREATE TABLE zone (name text PRIMARY KEY);
    ALTER TABLE node ADD COLUMN zone text REFERENCES zone;
    INSERT INTO kysely_migration (name, timestamp) VALUES ('9999-zones', now()::text);
  `.execute(catalog);
  const coordinator = await startCoordinator(url);
  const client = await clientOf(coordinator);
  await client.databases.create({ name: 'served' });
  expect((await client.databases.list()).map(({ name }) => name)).toEqual(['served']);
  const findings = await client.doctor.examine();
  expect(findings.find(({ check }) => check === 'catalog')).toMatchObject({
    verdict: 'WARN',
    found: expect.stringContaining('9999-zones') as string,
  });
  expect((await migrationStatus(catalog)).unknown).toEqual(['9999-zones']);
});

test('a coordinator has no more connections than STEWARD_DATABASE_CONNECTIONS: what needs another one waits', async () => {
  const { url } = await catalogMigratedTo(Object.keys(migrations).at(-1)!);
  const catalog = openTestCatalog(url, 2);
  cleanUps.push(() => catalog.destroy());
  const coordinator = await startCoordinator(url, {
    STEWARD_DATABASE_CONNECTIONS: '2',
    STEWARD_LOCK_TIMEOUT_MS: '20000',
  });
  const client = await clientOf(coordinator);
  const open = async () => {
    const { rows } = await sql<{ count: number }>`
      SELECT count(*) AS count FROM pg_stat_activity
      WHERE datname = current_database() AND application_name = 'steward-coordinator' AND wait_event_type = 'Lock'
    `.execute(catalog);
    return rows[0]!.count;
  };
  const asked = await catalog.transaction().execute(async (transaction) => {
    await sql`LOCK TABLE database IN ACCESS EXCLUSIVE MODE`.execute(transaction);
    const lists = Array.from({ length: 5 }, () => client.databases.list());
    await eventually('two wait for the lock', async () => (await open()) >= 2);
    for (let look = 0; look < 20; look += 1) expect(await open()).toBe(2);
    return { lists };
  });
  expect(await Promise.all(asked.lists)).toEqual([[], [], [], [], []]);
});

test('a worker refuses a catalog that is older than itself, and says what to do', async () => {
  const { url, migrate } = await catalogMigratedTo(before[0]!);
  const catalog = openTestCatalog(url, 1);
  cleanUps.push(() => catalog.destroy());
  const lacks = Object.keys(migrations).slice(1).join(', ');
  await expect(requireMigrated(catalog)).rejects.toThrow(
    `the catalog is older than this version, it lacks ${lacks}: run "steward setup" of this version, or start a coordinator`,
  );
  await migrate(Object.keys(migrations).at(-1)!);
  await requireMigrated(catalog);
});

test('a catalog that nobody prepared is refused by a worker as well', async () => {
  const empty = await createDatabase();
  cleanUps.push(() => empty.drop());
  const catalog = openTestCatalog(empty.url, 1);
  cleanUps.push(() => catalog.destroy());
  await expect(requireMigrated(catalog)).rejects.toThrow(/it lacks 0001-regions, /);
  await migrateCatalog(catalog);
  await requireMigrated(catalog);
});

async function startCoordinator(databaseUrl: string, env: Readonly<Record<string, string>> = {}) {
  const room = temporaryDirectory('catalog');
  cleanUps.push(() => room.remove());
  const coordinator = await startProgram({
    name: 'coordinator',
    program: 'src/coordinator/main.ts',
    env: { DATABASE_URL: databaseUrl, STEWARD_WAREHOUSE: `${room.path}/warehouse`, ...env },
    directory: room.path,
  });
  cleanUps.push(() => coordinator.stop());
  return coordinator;
}

async function clientOf(coordinator: TestProcess): Promise<StewardClient> {
  const client = await StewardClient.connect({
    coordinatorUrl: String(coordinator.ready['url']),
    temporal: { address: '127.0.0.1:1' },
    actor: 'tester',
  });
  cleanUps.push(() => client.close());
  return client;
}

async function catalogMigratedTo(name: string) {
  const made = await createDatabase();
  cleanUps.push(() => made.drop());
  const migrate = async (to: string) => {
    const catalog = openTestCatalog(made.url, 2);
    const { error } = await migratorOf(catalog).migrateTo(to);
    await catalog.destroy();
    if (error !== undefined) throw error;
  };
  await migrate(name);
  return { url: made.url, migrate };
}

async function schemaAfter(name: string) {
  const { url } = await catalogMigratedTo(name);
  const catalog = openTestCatalog(url, 1);
  try {
    return await readSchema(catalog);
  } finally {
    await catalog.destroy();
  }
}

/** What a statement on a catalog of today would break; nothing of it stays. */
async function brokenBy(statement: string): Promise<string[]> {
  const catalog = openTestCatalog(database.url, 1);
  try {
    await migrateCatalog(catalog);
    const old = await readSchema(catalog);
    return await catalog.connection().execute(async (session) => {
      await sql`BEGIN`.execute(session);
      await sql.raw(statement).execute(session);
      const found = breaks(old, await readSchema(session));
      await sql`ROLLBACK`.execute(session);
      return found;
    });
  } finally {
    await catalog.destroy();
  }
}

function migratorOf(db: Catalog): Migrator {
  return new Migrator({
    db,
    provider: { getMigrations: (): Promise<Record<string, Migration>> => Promise.resolve(migrations) },
  });
}

/** A hash of the statements that each migration runs, whatever stands around them in the source. */
async function hashesOfAll(): Promise<Record<string, string>> {
  const hashes: Record<string, string> = {};
  for (const [name, migration] of Object.entries(migrations)) {
    const statements: string[] = [];
    const recorder = new Kysely<unknown>({
      dialect: {
        createAdapter: () => new PostgresAdapter(),
        createDriver: () => new DummyDriver(),
        createIntrospector: () => {
          throw new Error(`${name} asks what is there: it must not depend on that`);
        },
        createQueryCompiler: () => new PostgresQueryCompiler(),
      },
      log: ({ query }) => {
        statements.push(query.sql.replace(/--.*$/gm, '').replace(/\s+/g, ' ').trim());
      },
    });
    await migration.up(recorder);
    hashes[name] = createHash('sha256').update(statements.join('\n')).digest('hex');
  }
  return hashes;
}
