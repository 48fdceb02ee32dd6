import { sql } from 'kysely';
import { afterEach, expect, test } from 'vitest';
import { type Catalog, catalogId, migrateCatalog } from '../../src/catalog/catalog.js';
import { openTestCatalog, startCatalog } from '../support/catalog.js';
import { createDatabase } from '../support/database.js';

const cleanUps: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

test('a process of the version before starts on a catalog that a newer one has migrated', async () => {
  const started = await startCatalog();
  cleanUps.push(() => started.stop());
  const { catalog } = started;
  await sql`INSERT INTO kysely_migration (name, timestamp) VALUES ('9999-later', now()::text)`.execute(
    catalog,
  );
  expect(await migrateCatalog(catalog)).toEqual({ applied: [] });
  expect(await names(catalog)).toContain('9999-later');
});

test('a catalog that lacks a migration of ours and has one that nobody knows is refused', async () => {
  const started = await startCatalog();
  cleanUps.push(() => started.stop());
  const { catalog } = started;
  await sql`UPDATE kysely_migration SET name = '9999-later' WHERE name = '0002-optimizing'`.execute(catalog);
  await expect(migrateCatalog(catalog)).rejects.toThrow(/could not be migrated/);
});

test('several processes that start at once migrate an empty catalog once', async () => {
  const database = await createDatabase();
  cleanUps.push(() => database.drop());
  const catalogs = [1, 2, 3].map(() => openTestCatalog(database.url, 2));
  const applied = await Promise.all(catalogs.map(migrateCatalog));
  expect(applied.flatMap((one) => one.applied)).toEqual(await names(catalogs[0]!));
  const ids = await Promise.all(catalogs.map(catalogId));
  expect(new Set(ids).size).toBe(1);
  for (const catalog of catalogs) await catalog.destroy();
});

async function names(catalog: Catalog): Promise<string[]> {
  const { rows } = await sql<{ name: string }>`SELECT name FROM kysely_migration ORDER BY name`.execute(
    catalog,
  );
  return rows.map(({ name }) => name);
}
