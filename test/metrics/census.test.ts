import { sql } from 'kysely';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { censusQueries, takeCensus } from '../../src/catalog/census.js';
import { CatalogState } from '../../src/coordinator/catalog-state.js';
import { countCatalogError } from '../../src/metrics/catalog-errors.js';
import { noteOrphans } from '../../src/metrics/optimizers.js';
import { RecentFacts } from '../../src/metrics/recent-facts.js';
import { registry } from '../../src/metrics/registry.js';
import { openTestCatalog, startCatalog } from '../support/catalog.js';

const TIMEOUT_MS = 15_000;
let started: Awaited<ReturnType<typeof startCatalog>>;
beforeAll(async () => {
  started = await startCatalog(['node-1', 'node-2']);
  await fill();
});
afterAll(() => started?.stop());

test('the census counts what is open, away and left over', async () => {
  expect(await takeCensus(started.catalog, TIMEOUT_MS)).toEqual({
    nodes: [
      { nodeId: 'node-1', alive: true, creating: 1, removing: 3, owedCancels: 0 },
      { nodeId: 'node-2', alive: false, creating: 0, removing: 0, owedCancels: 1 },
    ],
    groups: [
      { name: 'empty', optimizers: 0, threads: 0, orphans: 0 },
      { name: 'merging', optimizers: 1, threads: 4, orphans: 2 },
    ],
    differences: [{ kind: 'LEAKED', regions: 1 }],
    runningProcesses: 2,
    breaker: 'OPEN',
    jobs: { running: 1, tombstones: 2, overdue: 1 },
  });
});

test('no query reads all regions, tables or processes, however many there are', async () => {
  for (const [name, query] of Object.entries(censusQueries(TIMEOUT_MS))) {
    const { rows } = await sql<{ 'QUERY PLAN': string }>`EXPLAIN ${query}`.execute(started.catalog);
    const plan = rows.map((row) => row['QUERY PLAN']).join('\n');
    expect(plan, `${name}\n${plan}`).not.toMatch(
      /Seq Scan on (replica|region_group|data_table|optimizing_process|optimizing_task)\b/,
    );
  }
});

test('the page tells the census; when the catalog is away it says so, and nothing that was true before', async () => {
  const away = openTestCatalog(started.url.replace(/:\d+\//, ':1/'));
  try {
    await new CatalogState(started.catalog, TIMEOUT_MS).refresh();
    const page = await registry.metrics();
    for (const line of [
      'steward_catalog_up 1',
      'steward_nodes{state="silent"} 1',
      'steward_node_alive{node="node-2"} 0',
      'steward_open_deletions{node="node-1"} 3',
      'steward_owed_cancels{node="node-2"} 1',
      'steward_region_differences{kind="leaked"} 1',
      'steward_region_differences{kind="missing"} 0',
      'steward_orphans{group="merging"} 2',
      'steward_heal_breaker_state{state="open"} 1',
      'steward_tombstones 2',
      'steward_tombstones_overdue 1',
    ]) {
      expect(page.split('\n')).toContain(line);
    }
    await new CatalogState(away, TIMEOUT_MS).refresh();
    const told = (await registry.metrics()).split('\n').filter((line) => line.startsWith('steward_'));
    expect(told).toContain('steward_catalog_up 0');
    expect(
      told.filter((line) => /^steward_(nodes|node_alive|open_|orphans|tombstones|jobs)/.test(line)),
    ).toEqual([]);
  } finally {
    await away.destroy();
  }
});

test('errors of the catalog are counted by SQLSTATE, and what has none as connection', async () => {
  const failing = await sql`SELECT 1 / 0`.execute(started.catalog).catch((error: unknown) => error);
  countCatalogError(failing);
  countCatalogError(Object.assign(new Error('refused'), { code: 'ECONNREFUSED' }));
  const page = (await registry.metrics()).split('\n');
  expect(page).toContain('steward_catalog_errors_total{code="22012"} 1');
  expect(page).toContain('steward_catalog_errors_total{code="connection"} 1');
});

test('attempts left are told of the orphans that the keeper restarts, and of no other', async () => {
  const orphan = { firstSeenMs: 0, launch: 1 };
  const orphans = {
    waiting: { ...orphan, attempts: 0 },
    last: { ...orphan, attempts: 3 },
    back: { ...orphan, attempts: 2, lives: true },
    external: { ...orphan, attempts: 0, toldOptOut: 'OPTS_OUT' as const },
  };
  const state = { orphans, keepingAttempts: 0, cycle: 2 };
  const told = async () =>
    (await registry.metrics()).split('\n').filter((line) => line.startsWith('steward_orphan_attempts_left{'));
  noteOrphans('merging', state, { autoRestart: true, maxRetries: 3 });
  expect((await told()).sort()).toEqual([
    'steward_orphan_attempts_left{group="merging",resource="last"} 0',
    'steward_orphan_attempts_left{group="merging",resource="waiting"} 3',
  ]);
  noteOrphans('merging', state, { autoRestart: false, maxRetries: 3 });
  expect(await told()).toEqual([]);
});

test('a fact that is not told again is forgotten when its time is over', () => {
  let now = 0;
  const facts = new RecentFacts<string>(() => now);
  facts.tell('a', 'first', 100);
  facts.tell('b', 'other', 300);
  now = 99;
  facts.tell('a', 'again', 100);
  now = 198;
  expect(facts.all()).toEqual(['again', 'other']);
  now = 199;
  expect(facts.all()).toEqual(['other']);
  facts.forget('b');
  expect(facts.all()).toEqual([]);
});

/** A catalog of 20,000 regions and tables, of which little is open. */
async function fill(): Promise<void> {
  const { catalog } = started;
  await sql`UPDATE node SET last_heartbeat = now() - interval '1 hour' WHERE node_id = 'node-2'`.execute(
    catalog,
  );
  await sql`INSERT INTO database (name, state, created_by) VALUES ('d', 'ACTIVE', 'tester')`.execute(catalog);
  await sql`
    INSERT INTO region_group (database, kind, replication_factor, state, request, peers, epoch)
    SELECT 'd', 'DATA', 2, 'RUNNING', 'r', '{node-1,node-2}', 1 FROM generate_series(1, 20000)
  `.execute(catalog);
  await sql`
    INSERT INTO replica (group_id, node_id, state)
    SELECT group_id, node, CASE WHEN node = 'node-2' OR group_id > 4 THEN 'RUNNING'
      WHEN group_id = 4 THEN 'CREATING' ELSE 'REMOVING' END
    FROM region_group, unnest('{node-1,node-2}'::text[]) node
  `.execute(catalog);
  await sql`INSERT INTO sighting (node_id, group_id, kind) VALUES ('node-1', 99999, 'LEAKED')`.execute(
    catalog,
  );
  await sql`
    INSERT INTO optimizer_group (name, container, created_by) VALUES ('merging', 'local', 't'), ('empty', 'local', 't')
  `.execute(catalog);
  await sql`
    INSERT INTO optimizer_resource (resource_id, group_name, container, state, epoch, threads, memory_mb, created_by)
    SELECT 'r' || n, 'merging', 'local', CASE WHEN n = 4 THEN 'RELEASING' ELSE 'STARTED' END, 1, 4, 128, 't'
    FROM generate_series(1, 4) n
  `.execute(catalog);
  await sql`
    INSERT INTO optimizer (resource_id, group_name, launch, threads, memory_mb, last_touch)
    VALUES ('r1', 'merging', 1, 4, 128, now()), ('r2', 'merging', 1, 4, 128, now() - interval '1 hour')
  `.execute(catalog);
  await sql`
    INSERT INTO data_table (name, group_name, location, created_by)
    SELECT 't' || n, 'merging', '/t' || n, 't' FROM generate_series(1, 20000) n
  `.execute(catalog);
  await sql`
    INSERT INTO optimizing_process (table_id, kind, state, base_snapshot, tasks, actor)
    SELECT table_id, 'FULL', CASE WHEN table_id <= 2 THEN 'RUNNING' ELSE 'SUCCESS' END, 0, 1, 't' FROM data_table
  `.execute(catalog);
  await sql`INSERT INTO breaker (name, state, reason) VALUES ('heal', 'OPEN', 'test')`.execute(catalog);
  await sql`
    INSERT INTO job (job_id, owner, state, execution, spec, actor, ended_at, free_at)
    SELECT 'j' || n, gen_random_uuid(), CASE WHEN n = 1 THEN 'RUNNING' ELSE 'FINISHED' END, 1, '{}', 't',
      CASE WHEN n > 1 THEN now() END, CASE n WHEN 2 THEN now() - interval '1 hour' WHEN 3 THEN now() + interval '1 hour' END
    FROM generate_series(1, 3) n
  `.execute(catalog);
  await sql`
    INSERT INTO owed_cancel (node_id, ledger_id, job_id, owner, pipeline, task_group, execution, epoch)
    VALUES ('node-2', gen_random_uuid(), 'j1', gen_random_uuid(), 1, 1, 1, 2)
  `.execute(catalog);
  await sql`VACUUM ANALYZE`.execute(catalog);
}
