import { Client, Connection } from '@temporalio/client';
import { type Catalog, migrateCatalog, openCatalog } from '../catalog/catalog.js';
import { NodeClients } from '../engines/reference/node-clients.js';
import { createLogger } from '../log.js';
import { messageOf } from '../message-of.js';
import { readSettings } from '../model/settings.js';
import { readTransport } from '../model/transport.js';
import { Credentials } from '../rpc/credentials.js';
import { temporalConfig } from '../temporal/connection.js';
import { Payloads } from '../temporal/payloads.js';
import { NotTrusted, reaching } from '../temporal/reaching.js';
import { ensureSchedules } from '../temporal/schedules.js';
import { ensureSearchAttributes } from '../temporal/search-attributes.js';
import { catchUpWithNodes, type Restored } from './after-restore.js';

/** What a set-up found missing and made. Asked again, everything is empty. */
export interface SetUp {
  /** Migrations that were applied to the catalog. */
  readonly migrations: readonly string[];
  readonly searchAttributes: readonly string[];
  readonly schedules: readonly string[];
  /** Only after a restore. */
  readonly restored?: Restored & {
    /** Schedules that remove what nothing refers to: paused until somebody looked. */
    readonly paused: readonly string[];
    /** Workflows of these schedules that were open, and are terminated. */
    readonly terminated: readonly string[];
  };
}

/** A restored catalog refers to less than is on disk: what tidies up there waits until somebody looked. */
const TIDIES = { scheduleId: 'steward/sweep-tables', workflowType: 'sweepTables' } as const;
const PAUSED_NOTE =
  'paused by steward setup --after-restore: tables may have files of commits after the backup';
const CONNECT_TIMEOUT = '10s';

/**
 * Prepares a Temporal namespace and a catalog for Steward: search attributes, schedules, migrations. May be run at any time
 * and by several at once: what is there stays as it is. Speaks to PostgreSQL itself (DATABASE_URL), as no coordinator need
 * run yet.
 */
export async function setUp(options: { readonly afterRestore: boolean }): Promise<SetUp> {
  const settings = readSettings();
  const payloads = new Payloads();
  const { connectionOptions, namespace } = temporalConfig();
  const connection = await reaching(connectionOptions, () =>
    Connection.connect({ ...connectionOptions, connectTimeout: CONNECT_TIMEOUT }),
  ).catch((error: unknown) => {
    if (error instanceof NotTrusted) throw error;
    const reason = messageOf(error);
    throw new Error(
      `no connection to Temporal at ${connectionOptions.address ?? '127.0.0.1:7233'}: ${reason}`,
      { cause: error },
    );
  });
  const catalog = openCatalog(settings, { name: 'steward-setup', connections: 2 });
  try {
    const client = new Client({ connection, namespace, dataConverter: payloads.ofOnlooker });
    const searchAttributes = await ensureSearchAttributes(connection, namespace);
    const schedules = await ensureSchedules(client, settings.taskQueue);
    const tidying = options.afterRestore ? await stopTidying(client) : undefined;
    const { applied } = await migrateCatalog(catalog);
    const about = { migrations: applied, searchAttributes, schedules };
    if (tidying === undefined) return about;
    return { ...about, restored: { ...(await catchUp(catalog, settings)), ...tidying } };
  } finally {
    await catalog.destroy();
    await connection.close();
    payloads.close();
  }
}

async function catchUp(
  catalog: Catalog,
  settings: Parameters<typeof openCatalog>[0] & { rpcDeadlineMs: number; nodeTimeoutMs: number },
): Promise<Restored> {
  const credentials = new Credentials(readTransport(), createLogger('setup'));
  const clients = new NodeClients(settings.rpcDeadlineMs, credentials);
  try {
    return await catchUpWithNodes(catalog, clients, settings.nodeTimeoutMs);
  } finally {
    clients.close();
    credentials.close();
  }
}

async function stopTidying(client: Client): Promise<{ paused: string[]; terminated: string[] }> {
  await client.schedule.getHandle(TIDIES.scheduleId).pause(PAUSED_NOTE);
  const terminated: string[] = [];
  const open = `WorkflowType = '${TIDIES.workflowType}' AND ExecutionStatus = 'Running'`;
  for await (const { workflowId, runId } of client.workflow.list({ query: open })) {
    await client.workflow.getHandle(workflowId, runId).terminate(PAUSED_NOTE);
    terminated.push(workflowId);
  }
  return { paused: [TIDIES.scheduleId], terminated };
}
