import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createClient } from '@connectrpc/connect';
import pg from 'pg';
import type { GroupSettings, OptimizerGroupDescription, OptimizerResource } from '../../src/client/index.js';
import { readTransport } from '../../src/model/transport.js';
import { RpcConnection } from '../../src/rpc/connection.js';
import { Credentials } from '../../src/rpc/credentials.js';
import { OptimizingService } from '../../src/rpc/gen/steward/coordinator/v1/optimizing_pb.js';
import type { ClusterOptions } from '../support/cluster.js';
import { eventually } from '../support/eventually.js';
import { temporaryDirectory } from '../support/guard.js';
import { type Steward, startSteward } from '../support/steward.js';
import { type LogLine, linesOf, lives } from './optimizer-process.js';

/** Short times: a group that is silent for a second is gone, and a second later somebody looks after it. */
export const QUICK: Partial<GroupSettings> = {
  autoRestart: true,
  maxRetries: 2,
  gracePeriodMs: 1_000,
  heartbeatTimeoutMs: 1_000,
  threadsPerOptimizer: 2,
  memoryMbPerOptimizer: 128,
};

export interface ContainerCall {
  readonly container: string;
  readonly call: 'request' | 'release';
  readonly resourceId: string;
  readonly launch: number;
  readonly attempt: number;
}

/** A whole Steward for tests of the keeper: heartbeats every 100 ms, a cycle every 100 ms, nothing by schedule. */
export interface KeeperSteward extends Steward {
  /** Makes a group with a keeper; answers its name. */
  group(name: string, settings?: Partial<GroupSettings>, container?: string): Promise<string>;
  show(group: string): Promise<OptimizerGroupDescription>;
  resources(group: string): Promise<readonly OptimizerResource[]>;
  /** Resolves with the live resources when there are exactly so many. */
  live(group: string, count: number): Promise<readonly OptimizerResource[]>;
  /** SIGKILL to the process of a resource, and waits until it is gone. */
  killProcess(resource: OptimizerResource): Promise<void>;
  /** Processes that nodes spawned for a resource, as launch numbers, in order. */
  spawned(resourceId: string): number[];
  /** Messages that the keeper logged about a group, in order. */
  said(group: string): LogLine[];
  /** Calls of the containers of keeper-containers.mjs about a group. */
  calls(group: string): ContainerCall[];
  /** Registers an optimizer, or sends a heartbeat with the token given; answers the token. */
  touch(
    group: string,
    resourceId: string,
    more?: { launch?: number; token?: string; threads?: number },
  ): Promise<string>;
  /** Runs statements in a transaction of its own, which stays open until `release`. */
  hold(...statements: readonly string[]): Promise<{ release(): Promise<void> }>;
  /** Resolves when so many sessions of that program wait for a lock. */
  waitingForLock(program: 'steward-worker' | 'steward-coordinator', count?: number): Promise<void>;
}

export async function startKeeperSteward(options: ClusterOptions = {}): Promise<KeeperSteward> {
  const room = temporaryDirectory('keeper');
  const calls = join(room.path, 'calls');
  const quick = { STEWARD_LOCK_TIMEOUT_MS: '15000', STEWARD_NODE_TIMEOUT_MS: '10000' };
  const steward = await startSteward({
    nodes: 2,
    ...options,
    workerEnv: {
      STEWARD_CONTAINERS: fileURLToPath(new URL('./keeper-containers.mjs', import.meta.url)),
      STEWARD_TEST_CALLS: calls,
      ...quick,
      STEWARD_RPC_DEADLINE_MS: '2000',
      ...options.workerEnv,
    },
    coordinatorEnv: {
      STEWARD_HEARTBEAT_INTERVAL_MS: '100',
      STEWARD_POLL_INTERVAL_MS: '50',
      ...quick,
      ...options.coordinatorEnv,
    },
  });
  await steward.nodesAlive();
  const credentials = new Credentials(readTransport({}));
  const connection = new RpcConnection(steward.coordinatorUrl, credentials, { deadlineMs: 20_000 });
  const optimizing = createClient(OptimizingService, connection.transport);
  const sessions = new Set<pg.Client>();

  const own: Omit<KeeperSteward, keyof Steward> = {
    async group(name, settings = {}, container = 'local') {
      await steward.client.optimizerGroups.create({
        name,
        container,
        settings: { ...QUICK, ...settings },
        intervalMs: 100,
      });
      return name;
    },
    show: (group) => steward.client.optimizerGroups.get(group),
    async resources(group) {
      const groups = await steward.client.optimizerGroups.list();
      return groups.find(({ name }) => name === group)!.resources;
    },
    live: (group, count) =>
      eventually(
        `${group} has ${count} live optimizers`,
        async () => {
          // One may register a little before its start is recorded, and its process with it.
          const live = (await own.resources(group)).filter(
            ({ optimizer, state, nodeId }) =>
              optimizer?.alive && (state === 'STARTED' || nodeId === undefined),
          );
          return live.length === count && live;
        },
        40_000,
      ),
    async killProcess({ resourceId, processId }) {
      process.kill(Number.parseInt(processId!, 10), 'SIGKILL');
      await eventually(`the process of ${resourceId} is gone`, () => !lives(processId!));
    },
    spawned: (resourceId) =>
      steward.nodes
        .flatMap(({ logFile }) => linesOf(logFile))
        .filter((line) => line.msg === 'optimizer process spawned' && line['resourceId'] === resourceId)
        .map((line) => Number(line['launch']))
        .sort((a, b) => a - b),
    said: (group) =>
      linesOf(steward.worker.logFile).filter(
        (line) => line['name'] === 'optimizers' && line['group'] === group,
      ),
    calls: (group) =>
      existsSync(calls)
        ? readFileSync(calls, 'utf8')
            .split('\n')
            .filter(Boolean)
            .map((line) => JSON.parse(line) as ContainerCall)
            .filter(({ resourceId }) => resourceId.startsWith(`${group}-`))
        : [],
    async touch(group, resourceId, { launch = 0, token = '', threads = 2 } = {}) {
      const answer = await optimizing.touch({
        resourceId,
        group,
        token,
        launch: BigInt(launch),
        threads,
        memoryMb: 128,
      });
      return answer.token;
    },
    async hold(...statements) {
      const session = new pg.Client({ connectionString: steward.databaseUrl });
      session.on('error', () => {});
      await session.connect();
      sessions.add(session);
      for (const statement of ['BEGIN', ...statements]) await session.query(statement);
      return {
        async release() {
          sessions.delete(session);
          await session.query('ROLLBACK');
          await session.end();
        },
      };
    },
    async waitingForLock(program, count = 1) {
      const session = new pg.Client({ connectionString: steward.databaseUrl });
      await session.connect();
      try {
        await eventually(`${program} waits for a lock`, async () => {
          const { rows } = await session.query(
            `SELECT count(*)::int AS waiting FROM pg_stat_activity
             WHERE datname = current_database() AND application_name = $1 AND wait_event_type = 'Lock'`,
            [program],
          );
          return rows[0].waiting >= count;
        });
      } finally {
        await session.end();
      }
    },
  };
  const whole = Object.defineProperties({}, Object.getOwnPropertyDescriptors(steward)) as KeeperSteward;
  return Object.assign(whole, own, {
    async stop() {
      for (const session of sessions) await session.end().catch(() => {});
      connection.close();
      credentials.close();
      await steward.stop();
      await room.remove();
    },
  });
}
