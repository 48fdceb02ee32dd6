import { randomUUID } from 'node:crypto';
import { type Catalog, migrateCatalog, openCatalog } from '../../src/catalog/catalog.js';
import type { Claimant } from '../../src/catalog/claims.js';
import { registerNode } from '../../src/catalog/nodes.js';
import type { RegionWorkflow } from '../../src/rules/words.js';
import { createDatabase } from './database.js';

/** A catalog on a database of its own, migrated, with live nodes of the names given. */
export async function startCatalog(nodes: readonly string[] = []): Promise<{
  catalog: Catalog;
  url: string;
  stop(): Promise<void>;
}> {
  const database = await createDatabase();
  const catalog = openTestCatalog(database.url);
  await migrateCatalog(catalog);
  for (const nodeId of nodes) await registerTestNode(catalog, nodeId);
  return {
    catalog,
    url: database.url,
    async stop() {
      await catalog.destroy();
      await database.drop();
    },
  };
}

export function openTestCatalog(databaseUrl: string, connections = 10, lockTimeoutMs = 5_000): Catalog {
  return openCatalog(
    { databaseUrl, lockTimeoutMs, statementTimeoutMs: 20_000 },
    { name: 'steward-test', connections },
  );
}

export async function registerTestNode(catalog: Catalog, nodeId: string, ledgerId = randomUUID()) {
  return registerNode(
    catalog,
    { nodeId, ledgerId, bootId: randomUUID(), address: 'http://127.0.0.1:1', capabilities: ['regions'] },
    15_000,
  );
}

export function claimant(workflowType: RegionWorkflow, workflowId: string, input: unknown = {}): Claimant {
  return { workflowType, workflowId, firstRunId: `run-of-${workflowId}`, actor: 'tester', input };
}
