import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Connection } from '@temporalio/client';
import { Client } from 'pg';
import { TRANSPORT_VARIABLES } from '../model/transport.js';
import { builtProgram } from '../project.js';
import { temporalConfig } from '../temporal/connection.js';
import { PAYLOAD_KEYS_VARIABLE } from '../temporal/payload-keys.js';
import { type ProcessSpec, startProcess } from './child-process.js';
import { LocalStackError } from './errors.js';
import { preparePostgres } from './postgres-server.js';
import type { PlanContext, StackPlan } from './stack.js';
import type { StackAddresses } from './stack-file.js';
import type { Service } from './supervisor.js';
import { findTemporalBinary } from './temporal-binary.js';
import { temporalServer } from './temporal-server.js';

const NODES = ['node-1', 'node-2', 'node-3'];

/**
 * The stack behind `npm start`: PostgreSQL and Temporal, then the coordinator, then the nodes and the worker. With
 * `DATABASE_URL` or `TEMPORAL_ADDRESS` set, that server is used and none of ours is started.
 */
export function stewardPlan(env: NodeJS.ProcessEnv = process.env): StackPlan {
  const ownDatabase = !env['DATABASE_URL'];
  const ownTemporal = !env['TEMPORAL_ADDRESS'];
  return {
    ports: [
      ...(ownDatabase ? [{ name: 'postgres' }] : []),
      ...(ownTemporal
        ? [
            { name: 'temporal', preferred: 7233 },
            { name: 'ui', preferred: 8233 },
          ]
        : []),
      { name: 'coordinator' },
      ...NODES.map((name) => ({ name })),
    ],
    prepare: async (context) => {
      // Before anything is started: what is not built cannot become ready.
      const programs = {
        coordinator: builtProgram('src/coordinator/main.ts'),
        worker: builtProgram('src/worker/main.ts'),
        node: builtProgram('src/node/main.ts'),
      };
      // One after the other, so that nothing is under way any more when one of them fails.
      const database = ownDatabase
        ? await embeddedDatabase(context)
        : await externalDatabase(env['DATABASE_URL'] ?? '');
      const temporal = ownTemporal ? await embeddedTemporal(context) : await externalTemporal(env);
      const coordinator = `http://127.0.0.1:${context.port('coordinator')}`;
      const addresses: StackAddresses = {
        databaseUrl: database.url,
        temporal: temporal.address,
        temporalNamespace: temporal.namespace,
        ...(temporal.webUi === undefined ? {} : { webUi: temporal.webUi }),
        coordinator,
        nodes: Object.fromEntries(NODES.map((id) => [id, `http://127.0.0.1:${context.port(id)}`])),
      };
      const environment = {
        ...temporal.environment,
        DATABASE_URL: database.url,
        STEWARD_WAREHOUSE: join(context.layout.data, 'warehouse'),
      };
      const ours = (
        name: string,
        program: string,
        args: string[],
        place: Pick<Service, 'startStage' | 'stopStage'>,
        env: ProcessSpec['env'] = {},
      ) => ourProcess(context, name, { program, args, env }, place);
      const services = [
        ...database.services,
        ...temporal.services,
        ours(
          'coordinator',
          programs.coordinator,
          [`--listen=127.0.0.1:${context.port('coordinator')}`],
          { startStage: 2, stopStage: 2 },
          // The worker takes STEWARD_METRICS_LISTEN, and two processes cannot have the same port.
          { ...environment, STEWARD_METRICS_LISTEN: env['STEWARD_COORDINATOR_METRICS_LISTEN'] },
        ),
        ...NODES.map((id) =>
          ours(
            id,
            programs.node,
            [
              `--id=${id}`,
              `--listen=127.0.0.1:${context.port(id)}`,
              `--data=${join(context.layout.data, id)}`,
              `--coordinator=${coordinator}`,
              '--allow-faults',
            ],
            { startStage: 3, stopStage: 3 },
          ),
        ),
        ours('worker', programs.worker, [], { startStage: 3, stopStage: 1 }, environment),
      ];
      return { services, addresses };
    },
  };
}

interface Database {
  url: string;
  services: Service[];
}

interface Temporal {
  address: string;
  namespace: string;
  webUi?: string;
  /** For those who connect to it. */
  environment: Record<string, string | undefined>;
  services: Service[];
}

async function embeddedDatabase({ layout, port, print }: PlanContext): Promise<Database> {
  const log = layout.log('postgres');
  const postgres = await preparePostgres({
    directory: join(layout.data, 'postgres'),
    port: port('postgres'),
    logFile: log,
    print,
  });
  const service: Service = {
    name: 'postgres',
    log,
    stopSignal: 'SIGINT',
    startStage: 1,
    stopStage: 5,
    start: (launch) => postgres.start(launch),
  };
  return { url: postgres.url, services: [service] };
}

async function externalDatabase(url: string): Promise<Database> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
  client.on('error', () => {});
  try {
    await client.connect();
    await client.query('SELECT 1');
  } catch (cause) {
    throw new LocalStackError(
      'START_FAILED',
      `the PostgreSQL of DATABASE_URL does not answer: ${reason(cause)}. Start it, correct the variable, or unset it ` +
        'for one of the stack.',
      { cause },
    );
  } finally {
    await client.end().catch(() => {});
  }
  return { url, services: [] };
}

async function embeddedTemporal({ layout, port, print, signal }: PlanContext): Promise<Temporal> {
  const { path: binary } = await findTemporalBinary({ print, signal });
  const spec = await temporalServer({
    binary,
    port: port('temporal'),
    uiPort: port('ui'),
    databaseFile: join(layout.data, 'temporal.sqlite'),
    logFile: layout.log('temporal'),
  });
  const service: Service = {
    name: 'temporal',
    log: spec.logFile,
    stopSignal: 'SIGTERM',
    startStage: 1,
    stopStage: 4,
    start: (launch) => startProcess(spec, launch),
  };
  const address = `127.0.0.1:${port('temporal')}`;
  // Also for the user's own `temporal` CLI.
  const configFile = join(layout.home, 'temporal.toml');
  writeFileSync(configFile, `[profile.default]\naddress = "${address}"\nnamespace = "default"\n`);
  return {
    address,
    namespace: 'default',
    webUi: `http://127.0.0.1:${port('ui')}`,
    environment: {
      // The user's own variables, profile and payload keys are meant for other servers.
      ...Object.fromEntries(
        Object.keys(process.env)
          .filter((name) => name.startsWith('TEMPORAL_'))
          .map((name) => [name, undefined]),
      ),
      [PAYLOAD_KEYS_VARIABLE]: undefined,
      TEMPORAL_CONFIG_FILE: configFile,
      TEMPORAL_ADDRESS: address,
      TEMPORAL_NAMESPACE: 'default',
    },
    services: [service],
  };
}

async function externalTemporal(env: NodeJS.ProcessEnv): Promise<Temporal> {
  const { connectionOptions, namespace } = temporalConfig();
  const address = connectionOptions.address ?? env['TEMPORAL_ADDRESS'] ?? '';
  try {
    const connection = await Connection.connect({ ...connectionOptions, connectTimeout: '10s' });
    await connection.close();
  } catch (cause) {
    throw new LocalStackError(
      'START_FAILED',
      `the Temporal server of TEMPORAL_ADDRESS (${address}) does not answer: ${reason(cause)}. Start it, correct the ` +
        'variable, or unset it for one of the stack.',
      { cause },
    );
  }
  return { address, namespace, environment: { TEMPORAL_NAMESPACE: namespace }, services: [] };
}

function ourProcess(
  { layout }: PlanContext,
  name: string,
  run: { program: string; args: readonly string[]; env: ProcessSpec['env'] },
  place: Pick<Service, 'startStage' | 'stopStage'>,
): Service {
  const log = layout.log(name);
  return {
    name,
    log,
    stopSignal: 'SIGTERM',
    ...place,
    start: (launch) =>
      startProcess(
        {
          name,
          command: process.execPath,
          args: [run.program, ...run.args, '--exit-with-parent'],
          // The stack speaks plain text on loopback; the user's certificates and tokens are meant for other servers.
          env: { ...Object.fromEntries(TRANSPORT_VARIABLES.map((name) => [name, undefined])), ...run.env },
          logFile: log,
          ready: { by: 'line' },
          readyTimeoutMs: 60_000,
          stopSignal: 'SIGTERM',
          stopTimeoutMs: 15_000,
        },
        launch,
      ),
  };
}

function reason(error: unknown): string {
  return error instanceof AggregateError
    ? error.errors.map((one) => (one as Error).message).join(', ')
    : (error as Error).message;
}
