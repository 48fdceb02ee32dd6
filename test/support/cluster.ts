import { SCHEDULES } from '../../src/temporal/schedules.js';
import { createDatabase, startPostgres, type TestPostgres } from './database.js';
import { temporaryDirectory } from './guard.js';
import { freePort } from './ports.js';
import { startProgram, type TestProcess } from './processes.js';
import { startTemporal, type TestTemporal } from './temporal.js';

type Environment = Readonly<Record<string, string | undefined>>;

export interface ClusterOptions {
  /** 3 by default; they are called node-1, node-2 and so on. */
  nodes?: number;
  /** Added to the command line of every node, or of the node with that name. */
  nodeFlags?: readonly string[] | ((id: string) => readonly string[]);
  nodeEnv?: Environment;
  workerEnv?: Environment;
  coordinatorEnv?: Environment;
  /** Where the coordinator listens; on a free port by default. */
  coordinatorListen?: string;
  /** Variables of every process and of the clients: certificates, tokens. With STEWARD_TLS_CERT all URLs are https. */
  transportEnv?: Environment;
  /** A PostgreSQL of the cluster's own (`cluster.postgres`), for tests that kill it: what it committed survives that. */
  ownPostgres?: boolean;
  /** A Temporal whose store survives its restart, for tests that kill it. */
  ownTemporalDb?: boolean;
  /** Temporal's Web UI as well (`cluster.temporal.webUi`). */
  webUi?: boolean;
  /** Events of a history from which on Temporal tells a workflow to continue as new. */
  continueAsNewAfter?: number;
  /**
   * Whether Steward's schedules start what they are for. They are paused by default: what begins at the full minute
   * would be counted by whatever test runs then. A paused one can be triggered.
   */
  schedules?: boolean;
}

export interface NodeOptions {
  /** Where it keeps its data; one of its own by default. */
  directory?: string;
  flags?: readonly string[];
  /** Whether it takes faults; true by default. */
  allowFaults?: boolean;
}

/** Temporal, catalog, coordinator, worker and nodes, each a real process. */
export interface Cluster {
  temporal: TestTemporal;
  /** Only with `ownPostgres`. */
  postgres: TestPostgres | undefined;
  coordinator: TestProcess;
  worker: TestProcess;
  nodes: readonly TestProcess[];
  /** The node of that name. */
  node(id: string): TestProcess;
  /** Where that node keeps its data. */
  nodeDirectory(id: string): string;
  nodeUrl(id: string): string;
  directory: string;
  databaseUrl: string;
  temporalAddress: string;
  coordinatorUrl: string;
  /** By which the command finds coordinator and Temporal. */
  clientEnv: Readonly<Record<string, string>>;
  /** One more node, for example a replacement with a new disk. */
  addNode(id: string, options?: NodeOptions): Promise<TestProcess>;
  /** Ends every process and removes the data; what fails does not keep the rest from ending. */
  stop(): Promise<void>;
}

/** Resolves when every process has said that it serves; the nodes may not have registered yet. */
export async function startCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const directory = temporaryDirectory('cluster');
  const cleanUps: (() => Promise<unknown>)[] = [() => directory.remove()];
  const stop = async () => {
    const failures: unknown[] = [];
    for (const cleanUp of cleanUps.splice(0).reverse())
      await cleanUp().catch((error) => failures.push(error));
    if (failures.length > 0) throw new AggregateError(failures, 'the cluster did not stop cleanly');
  };
  try {
    const [temporal, { url: databaseUrl, postgres }] = await Promise.all([
      startTemporal({
        durable: options.ownTemporalDb ?? false,
        webUi: options.webUi ?? false,
        continueAsNewAfter: options.continueAsNewAfter,
      }).then((started) => {
        cleanUps.push(() => started.stop());
        return started;
      }),
      options.ownPostgres
        ? startPostgres({ durable: true }).then((started) => {
            cleanUps.push(() => started.stop());
            return { url: started.url, postgres: started };
          })
        : createDatabase().then((created) => {
            cleanUps.push(() => created.drop());
            return { url: created.url, postgres: undefined };
          }),
    ]);

    const start = async (program: Omit<Parameters<typeof startProgram>[0], 'directory'>) => {
      const started = await startProgram({ ...program, directory: directory.path });
      cleanUps.push(() => started.stop());
      return started;
    };

    const coordinatorListen = options.coordinatorListen ?? `127.0.0.1:${await freePort()}`;
    const scheme = options.transportEnv?.['STEWARD_TLS_CERT'] === undefined ? 'http' : 'https';
    const coordinatorUrl = `${scheme}://${coordinatorListen}`;
    const common = {
      DATABASE_URL: databaseUrl,
      TEMPORAL_ADDRESS: temporal.address,
      TEMPORAL_NAMESPACE: 'default',
      ...options.transportEnv,
      STEWARD_WAREHOUSE: `${directory.path}/warehouse`,
    };
    const [coordinator] = await Promise.all([
      start({
        name: 'coordinator',
        program: 'src/coordinator/main.ts',
        args: [`--listen=${coordinatorListen}`],
        env: { ...common, ...options.coordinatorEnv },
      }),
      options.schedules || pauseSchedules(temporal.client),
    ]);

    const nodes = new Map<string, { process: TestProcess; url: string; directory: string }>();
    const addNode: Cluster['addNode'] = async (
      id,
      { directory: data = `${directory.path}/${id}`, flags = [], allowFaults = true } = {},
    ) => {
      const listen = `127.0.0.1:${await freePort()}`;
      const process = await start({
        name: id,
        program: 'src/node/main.ts',
        args: [
          `--id=${id}`,
          `--listen=${listen}`,
          `--data=${data}`,
          `--coordinator=${coordinatorUrl}`,
          ...(allowFaults ? ['--allow-faults'] : []),
          ...(typeof options.nodeFlags === 'function' ? options.nodeFlags(id) : (options.nodeFlags ?? [])),
          ...flags,
        ],
        env: { ...options.transportEnv, ...options.nodeEnv },
      });
      nodes.set(id, { process, url: `${scheme}://${listen}`, directory: data });
      return process;
    };
    const ids = Array.from({ length: options.nodes ?? 3 }, (_, index) => `node-${index + 1}`);
    const [worker] = await Promise.all([
      start({ name: 'worker', program: 'src/worker/main.ts', env: { ...common, ...options.workerEnv } }),
      ...ids.map((id) => addNode(id)),
    ]);
    const known = (id: string) => {
      const found = nodes.get(id);
      if (found === undefined)
        throw new Error(`the cluster has no ${id}, only ${[...nodes.keys()].sort().join(', ')}`);
      return found;
    };
    return {
      temporal,
      postgres,
      coordinator,
      worker,
      get nodes() {
        return [...nodes.keys()].sort().map((id) => known(id).process);
      },
      node: (id) => known(id).process,
      nodeDirectory: (id) => known(id).directory,
      nodeUrl: (id) => known(id).url,
      directory: directory.path,
      databaseUrl,
      temporalAddress: temporal.address,
      coordinatorUrl,
      clientEnv: { STEWARD_COORDINATOR_URL: coordinatorUrl, TEMPORAL_ADDRESS: temporal.address },
      addNode,
      stop,
    };
  } catch (error) {
    await stop().catch(() => {});
    throw error;
  }
}

/** Makes Steward's schedules before its worker does, which brings them to what they shall be and leaves them paused. */
async function pauseSchedules({ schedule }: TestTemporal['client']): Promise<void> {
  await Promise.all(
    SCHEDULES.map(({ scheduleId, workflowType }) =>
      schedule.create({
        scheduleId,
        spec: {},
        action: { type: 'startWorkflow', workflowType, taskQueue: 'replaced' },
        state: { paused: true, note: 'the test says when' },
      }),
    ),
  );
}
