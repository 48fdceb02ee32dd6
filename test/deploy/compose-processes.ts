import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Client as PgClient } from 'pg';
import { type RunningProcess, startProcess } from '../../src/local/child-process.js';
import { projectRoot } from '../../src/project.js';
import { startPostgres } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { killWithUs, temporaryDirectory } from '../support/guard.js';
import { freePort } from '../support/ports.js';
import { startProxy } from '../support/proxy.js';
import { startTemporal, type TestTemporal } from '../support/temporal.js';
import { type ComposeService, isSteward, readComposeFile } from './compose-file.js';

export interface ComposeProcesses {
  readonly temporal: TestTemporal;
  /** What a caller outside gets: address of all coordinators, and the files that it needs to speak to them. */
  readonly coordinatorUrl: string;
  readonly caller: Readonly<Record<string, string>>;
  /** As the Web UI asks for decrypted payloads. */
  readonly codecServer: { readonly url: string; readonly token: string };
  /** Namespace and task queue as the file has them. */
  readonly environment: Readonly<Record<string, string>>;
  process(service: string): RunningProcess;
  /** Starts a service that was stopped, as its container would be, and waits until it is healthy. */
  start(service: string): Promise<void>;
  /** Where the files of a volume are. */
  volume(name: string): string;
  /** Runs the health check of a service as its container would; rejects when it fails. */
  checkHealth(service: string): Promise<void>;
  logOf(service: string): string;
  stop(): Promise<void>;
}

/**
 * Starts the services of docker-compose.yml that run our image as plain processes: their very commands and variables, in
 * the order of `depends_on`, with a PostgreSQL of their own, set up as `deploy/postgres` does, and a Temporal dev server in the
 * place of the other images. What a container
 * has of its own is mapped: names and ports to free ports of 127.0.0.1, secrets and volumes to directories. A name that
 * several services share (`aliases`) is a proxy that takes whoever answers, as the DNS of a compose network would.
 */
export async function startComposeProcesses(): Promise<ComposeProcesses> {
  const file = readComposeFile();
  const directory = temporaryDirectory('compose');
  const cleanUps: (() => Promise<unknown>)[] = [() => directory.remove()];
  const stop = async () => {
    for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
  };
  try {
    const postgres = await startPostgres();
    cleanUps.push(() => postgres.stop());
    const temporal = await startTemporal();
    cleanUps.push(() => temporal.stop());

    const secrets = join(directory.path, 'secrets');
    execFileSync('sh', [join(projectRoot, 'deploy/make-secrets.sh'), secrets]);
    await createDatabases(postgres.url, secrets);

    const names = new Names({ 'temporal:7233': temporal.address });
    const ours = Object.entries(file.services).filter(([, service]) => isSteward(service));
    for (const [name, { networks }] of ours) {
      for (const { aliases = [] } of Object.values(networks)) {
        for (const alias of aliases) names.share(alias, name);
      }
    }
    cleanUps.push(() => names.close());
    const namespace = ours[0]![1].environment?.['TEMPORAL_NAMESPACE'] ?? 'default';
    await temporal.connection.workflowService.registerNamespace({
      namespace,
      workflowExecutionRetentionPeriod: { seconds: 86_400 as never },
    });
    await eventually('the namespace', async () => {
      await temporal.connection.workflowService.describeNamespace({ namespace });
      return true;
    });

    const volumePath = (name: string) => join(directory.path, 'volumes', name);
    const inProcess = async (name: string, service: ComposeService, text: string) => {
      let mapped = text.replaceAll('/run/secrets/', `${secrets}/`);
      for (const volume of service.volumes ?? []) {
        const [source, target] = volume.split(':') as [string, string];
        if (source.startsWith('./')) continue;
        const path = volumePath(source);
        mkdirSync(path, { recursive: true });
        mapped = mapped.replaceAll(target, path);
      }
      return names.replaceIn(name, mapped);
    };
    const commandOf = async (name: string, service: ComposeService, words: readonly string[]) => {
      const [program, ...args] = await Promise.all(words.map((word) => inProcess(name, service, word)));
      if (program !== 'node') throw new Error(`${name} starts ${program}, not node`);
      return args;
    };
    const environmentOf = async (name: string, service: ComposeService) => {
      const entries = Object.entries(service.environment ?? {}).map(async ([variable, value]) => [
        variable,
        await inProcess(name, service, value),
      ]);
      return { ...NOTHING_OF_THIS_MACHINE, ...Object.fromEntries(await Promise.all(entries)) } as Record<
        string,
        string | undefined
      >;
    };

    const running = new Map<string, RunningProcess>();
    const logOf = (name: string) => join(directory.path, `${name}.log`);
    const checkHealth = async (name: string) => {
      const service = file.services[name]!;
      const [, ...words] = service.healthcheck!.test;
      const args = await commandOf(name, service, words);
      const env = { ...process.env, ...(await environmentOf(name, service)) };
      await promisify(execFile)(process.execPath, args, { cwd: programs, env, timeout: 20_000 });
    };

    const start = async (name: string) => {
      const service = file.services[name]!;
      const started = await startProcess({
        name,
        command: process.execPath,
        // So that none outlives the test.
        args: [...(await commandOf(name, service, service.command!)), '--exit-with-parent'],
        cwd: programs,
        env: await environmentOf(name, service),
        logFile: logOf(name),
        ready: { by: 'line' },
        readyTimeoutMs: 60_000,
        stopSignal: (service.stop_signal ?? 'SIGTERM') as NodeJS.Signals,
        stopTimeoutMs: Number.parseInt(service.stop_grace_period!, 10) * 1_000,
      });
      killWithUs(started.identity);
      cleanUps.push(() => started.stop());
      running.set(name, started);
      await eventually(`${name} is healthy`, () => checkHealth(name).then(() => true), 60_000);
    };

    const waiting = new Map(ours);
    const done = new Set(Object.keys(file.services).filter((name) => !waiting.has(name)));
    while (waiting.size > 0) {
      const next = [...waiting].filter(([, { depends_on = {} }]) =>
        Object.keys(depends_on).every((name) => done.has(name)),
      );
      if (next.length === 0) throw new Error(`${[...waiting.keys()].join(', ')} wait for each other`);
      for (const [name, service] of next) {
        if (service.restart.startsWith('on-failure')) {
          const args = await commandOf(name, service, service.command!);
          const env = { ...process.env, ...(await environmentOf(name, service)) };
          await promisify(execFile)(process.execPath, args, { cwd: programs, env });
        } else {
          await start(name);
        }
        waiting.delete(name);
        done.add(name);
      }
    }
    const [, coordinator] = ours.find(([name]) => name === 'coordinator-1')!;
    return {
      temporal,
      coordinatorUrl: await names.replaceIn('caller', 'https://coordinator:7400'),
      caller: {
        STEWARD_TLS_CA: join(secrets, 'ca.pem'),
        STEWARD_TOKEN_FILE: join(secrets, 'token'),
        STEWARD_PAYLOAD_KEYS_FILE: join(secrets, 'payload-keys'),
      },
      codecServer: {
        url: await names.replaceIn('codec-server', 'http://localhost:8081'),
        token: readFileSync(join(secrets, 'codec-token'), 'utf8').trim(),
      },
      environment: coordinator.environment!,
      process: (name) => running.get(name)!,
      start,
      volume: volumePath,
      checkHealth,
      logOf: (name) => readFileSync(logOf(name), 'utf8'),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/**
 * Runs the statements of deploy/postgres/create-databases.sh, and has the URL of deploy/make-secrets.sh lead there. Only the
 * name `steward` is another one: here it is the superuser's.
 */
async function createDatabases(server: string, secrets: string): Promise<void> {
  const script = readFileSync(join(projectRoot, 'deploy/postgres/create-databases.sh'), 'utf8');
  const [, statements] = /<<'SQL'\n(.*)\nSQL/s.exec(script)!;
  const secret = (name: string) => readFileSync(join(secrets, name), 'utf8').trim();
  const client = new PgClient({ connectionString: server });
  await client.connect();
  try {
    for (const statement of statements!.split('\n')) {
      const text = statement
        .replace(/:'(\w+)_password'/, (_, of: string) => `'${secret(`${of}-db-password`)}'`)
        .replaceAll('steward', 'control');
      await client.query(text);
    }
  } finally {
    await client.end();
  }
  const url = new URL(secret('database-url'));
  url.host = new URL(server).host;
  url.username = 'control';
  url.pathname = '/control';
  writeFileSync(join(secrets, 'database-url'), `${url.href}\n`);
}

/** What the shell of whoever runs the tests has set is meant for other servers. */
const NOTHING_OF_THIS_MACHINE = {
  DATABASE_URL: undefined,
  TEMPORAL_CONFIG_FILE: '/nonexistent/temporal.toml',
};

/** Where the programs are: of this checkout, or of what scripts/image-tree.mjs made. */
const programs = process.env['STEWARD_IMAGE_TREE'] ?? projectRoot;

const ADDRESS = /\b([a-z][a-z0-9-]*|0\.0\.0\.0):(\d{2,5})\b/g;

/** Where `name:port` of the compose networks is on this machine. */
class Names {
  readonly #known: Map<string, Promise<string>>;
  readonly #shared = new Map<string, Set<string>>();
  readonly #proxies: { close(): Promise<void> }[] = [];

  constructor(known: Readonly<Record<string, string>>) {
    this.#known = new Map(Object.entries(known).map(([name, address]) => [name, Promise.resolve(address)]));
  }

  share(alias: string, service: string): void {
    this.#shared.set(alias, (this.#shared.get(alias) ?? new Set()).add(service));
  }

  /** Addresses in a text of this service's container, which calls itself `localhost` and `0.0.0.0` too. */
  async replaceIn(service: string, text: string): Promise<string> {
    let replaced = text;
    for (const [address, host, port] of text.matchAll(ADDRESS)) {
      const name = host === 'localhost' || host === '0.0.0.0' ? service : host!;
      replaced = replaced.replace(address, await this.#addressOf(name, Number(port)));
    }
    return replaced;
  }

  #addressOf(name: string, port: number): Promise<string> {
    const key = `${name}:${port}`;
    const known = this.#known.get(key) ?? this.#make(name, port);
    this.#known.set(key, known);
    return known;
  }

  async #make(name: string, port: number): Promise<string> {
    const sharers = this.#shared.get(name);
    if (sharers === undefined) return `127.0.0.1:${await freePort()}`;
    const targets = await Promise.all([...sharers].map((service) => this.#addressOf(service, port)));
    const proxy = await startProxy(targets);
    this.#proxies.push(proxy);
    return proxy.address;
  }

  async close(): Promise<void> {
    await Promise.all(this.#proxies.map((proxy) => proxy.close()));
  }
}
