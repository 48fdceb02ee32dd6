import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { findNode } from '../../src/catalog/nodes.js';
import { allocateResource } from '../../src/catalog/optimizers/resources.js';
import { createOptimizerGroup } from '../../src/catalog/optimizing/groups.js';
import { ingestFile } from '../../src/catalog/optimizing/ingestion.js';
import { createTable, findTable, readCurrentSnapshot } from '../../src/catalog/optimizing/tables.js';
import type { HealOptions, HealResult } from '../../src/client/index.js';
import { LocalContainer } from '../../src/engines/local-container.js';
import { NodeClients } from '../../src/engines/reference/node-clients.js';
import { ReferenceOptimizerEngine } from '../../src/engines/reference/optimizers.js';
import { createLogger } from '../../src/log.js';
import { readTransport } from '../../src/model/transport.js';
import { Credentials } from '../../src/rpc/credentials.js';
import { type LogLine, linesOf, lives } from '../optimizers/optimizer-process.js';
import { query } from '../optimizers/parquet.js';
import type { ClusterOptions } from '../support/cluster.js';
import { eventually } from '../support/eventually.js';
import type { TestProcess } from '../support/processes.js';
import { type Steward, startSteward } from '../support/steward.js';

export const GROUP = 'merging';
const TARGET = 1 << 20;
/** As short as a test wants them; what is younger than this is on its way. */
export const SOON = { ackTimeoutMs: 300, settleGraceMs: 300, resultGraceMs: 300, commitGraceMs: 300 };

/** An optimizer that a node runs, and its directory on that node. */
export interface RunningOptimizer {
  readonly resourceId: string;
  readonly nodeId: string;
  readonly directory: string;
  log(): LogLine[];
  count(msg: string): number;
  /** SIGKILL, and waits until it is gone. */
  kill(): Promise<void>;
  /** Launches it again in its place, with other properties. */
  relaunch(properties?: Readonly<Record<string, string>>): Promise<void>;
}

/** A whole Steward for tests of optimizing: nothing starts by schedule, and locks are waited for 400 ms. */
export interface OptimizingSteward extends Steward {
  /** A table with so many files of three rows each; every row has an id of its own. */
  table(name: string, files: number): Promise<string>;
  ingest(table: string, firstId: number): Promise<void>;
  optimizer(
    nodeId: string,
    properties?: Readonly<Record<string, string>>,
    threads?: number,
  ): Promise<RunningOptimizer>;
  /** Plans it FULL by its workflow; answers the process. */
  optimize(table: string): Promise<number>;
  heal(options?: HealOptions): Promise<HealResult>;
  status(table: string): Promise<{ status: string; snapshotId: number; files: number; rows: number }>;
  process(
    processId: number,
  ): Promise<{ state: string; committing_since: Date | null; reason: string | null }>;
  tasks(processId: number): Promise<{ task_no: number; state: string; attempt: number; settled: boolean }[]>;
  /** Ids in the files of the current snapshot, sorted, read from the disk. */
  ids(table: string): Promise<number[]>;
  /** Runs statements in a session of its own, which stays open, and so keeps its locks, until `release`. */
  hold(...statements: readonly string[]): Promise<Holding>;
  /** Lines that a process logged at WARN, by the logger's name. */
  warnings(process: TestProcess, logger?: string): LogLine[];
  idle(table: string): Promise<void>;
}

export interface Holding {
  release(): Promise<void>;
}

export async function startOptimizingSteward(options: ClusterOptions = {}): Promise<OptimizingSteward> {
  const quick = { STEWARD_LOCK_TIMEOUT_MS: '400', STEWARD_TARGET_FILE_BYTES: String(TARGET) };
  const steward = await startSteward({
    nodes: 2,
    ...options,
    workerEnv: { ...quick, ...options.workerEnv },
    coordinatorEnv: { ...quick, STEWARD_POLL_INTERVAL_MS: '50', ...options.coordinatorEnv },
  });
  await steward.nodesAlive();
  const { catalog, catalogId } = steward;
  await createOptimizerGroup(catalog, {
    name: GROUP,
    container: 'local',
    properties: {},
    settings: {},
    actor: 'tester',
  });
  const credentials = new Credentials(readTransport({}), createLogger('test'));
  const clients = new NodeClients(2_000, credentials);
  const container = new LocalContainer(new ReferenceOptimizerEngine(clients));
  const holdings = new Set<pg.Client>();
  let resources = 0;

  const own: Omit<OptimizingSteward, keyof Steward> = {
    async table(name, files) {
      const warehouse = join(steward.directory, 'warehouse');
      await createTable(catalog, warehouse, { name, group: GROUP, columns: [], actor: 'tester' });
      for (let file = 0; file < files; file += 1) await own.ingest(name, file * 3);
      return name;
    },

    async ingest(table, firstId) {
      const file = join(steward.directory, `${table}-${firstId}.csv`);
      const content = `id,name\n${[0, 1, 2].map((offset) => `${firstId + offset},n`).join('\n')}\n`;
      const { writeFile } = await import('node:fs/promises');
      await writeFile(file, content);
      await ingestFile(
        catalog,
        { table, file, format: 'CSV', request: `from-${firstId}`, digest: content },
        { targetFileBytes: TARGET },
      );
    },

    async optimizer(nodeId, properties = {}, threads = 1) {
      resources += 1;
      const resourceId = `r${resources}`;
      await allocateResource(
        catalog,
        { resourceId, group: GROUP, threads, memoryMb: 128, actor: 'tester' },
        { onNodes: true, nodeTimeoutMs: 60_000 },
      );
      await catalog
        .updateTable('optimizer_resource')
        .set({ node_id: nodeId })
        .where('resource_id', '=', resourceId)
        .execute();
      const node = (await findNode(catalog, nodeId))!;
      let launch = 0;
      let processId = '';
      const start = async (given: Readonly<Record<string, string>>) => {
        launch += 1;
        await catalog
          .updateTable('optimizer_resource')
          .set({ epoch: launch })
          .where('resource_id', '=', resourceId)
          .execute();
        processId = await eventually(`${resourceId} was started`, async () => {
          const answer = await container.request({
            catalogId,
            resourceId,
            epoch: launch,
            attempt: 1,
            node,
            group: GROUP,
            threads,
            memoryMb: 128,
            properties: given,
          });
          if (answer.state === 'FAILED') throw new Error(answer.reason);
          return answer.state === 'STARTED' && answer.processId;
        });
        await eventually(`${resourceId} registered`, async () => {
          const row = await catalog
            .selectFrom('optimizer')
            .select('launch')
            .where('resource_id', '=', resourceId)
            .executeTakeFirst();
          return row?.launch === launch;
        });
      };
      await start(properties);
      const directory = join(steward.nodeDirectory(nodeId), 'resources', catalogId, resourceId);
      const log = () => linesOf(join(directory, 'optimizer.log'));
      return {
        resourceId,
        nodeId,
        directory,
        log,
        count: (msg) => log().filter((line) => line.msg === msg).length,
        async kill() {
          process.kill(Number(processId.split('@')[0]), 'SIGKILL');
          await eventually(`${resourceId} is gone`, () => !lives(processId));
        },
        relaunch: (given = {}) => start(given),
      };
    },

    async optimize(table) {
      const { planned, waiting } = await (
        await steward.client.tables.optimize(table, { kind: 'FULL' })
      ).result();
      if (planned.length !== 1) throw new Error(JSON.stringify(waiting));
      return planned[0]!.processId;
    },

    async heal(heal = {}) {
      return (await steward.client.heals.run({ graces: SOON, ...heal })).result();
    },

    async status(table) {
      const row = (await findTable(catalog, table))!;
      return { status: row.status, snapshotId: row.snapshot_id, files: row.files, rows: row.rows };
    },

    async process(processId) {
      return catalog
        .selectFrom('optimizing_process')
        .select(['state', 'committing_since', 'reason'])
        .where('process_id', '=', processId)
        .executeTakeFirstOrThrow();
    },

    async tasks(processId) {
      return catalog
        .selectFrom('optimizing_task')
        .select(['task_no', 'state', 'attempt', 'settled'])
        .where('process_id', '=', processId)
        .orderBy('task_no')
        .execute();
    },

    async ids(table) {
      const row = (await findTable(catalog, table))!;
      const files = (await readCurrentSnapshot(catalog, row))?.files ?? [];
      if (files.length === 0) return [];
      const paths = files.map(({ path }) => `'${join(row.location, path)}'`).join(', ');
      const rows = await query(`SELECT id FROM read_parquet([${paths}]) ORDER BY id`);
      return rows.map(({ id }) => Number(id));
    },

    async hold(...statements) {
      const session = new pg.Client({ connectionString: steward.databaseUrl });
      session.on('error', () => {});
      await session.connect();
      holdings.add(session);
      for (const statement of ['BEGIN', ...statements]) await session.query(statement);
      return {
        async release() {
          holdings.delete(session);
          await session.query('ROLLBACK');
          await session.end();
        },
      };
    },

    warnings(of, logger) {
      const lines = readFileSync(of.logFile, 'utf8').split('\n').filter(Boolean);
      return lines.flatMap((line) => {
        try {
          const parsed = JSON.parse(line) as LogLine;
          return parsed['level'] === 40 && (logger === undefined || parsed['name'] === logger)
            ? [parsed]
            : [];
        } catch {
          return [];
        }
      });
    },

    async idle(table) {
      await eventually(`${table} is IDLE`, async () => (await own.status(table)).status === 'IDLE');
    },
  };
  const whole = Object.defineProperties({}, Object.getOwnPropertyDescriptors(steward)) as OptimizingSteward;
  return Object.assign(whole, own, {
    async stop() {
      for (const session of holdings) await session.end().catch(() => {});
      clients.close();
      credentials.close();
      await steward.stop();
    },
  });
}

/** 0 to count - 1. */
export function upTo(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}
