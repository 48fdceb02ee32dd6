import { cp, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { type RunningProcess, startProcess } from '../../src/local/child-process.js';
import { temporalServer } from '../../src/local/temporal-server.js';
import { killWithUs, temporaryDirectory } from './guard.js';
import { freePort } from './ports.js';
import { provided } from './provided.js';

export interface TestTemporal {
  address: string;
  /** Of its Web UI; only with `webUi`. */
  webUi: string | undefined;
  connection: Connection;
  /** Of the namespace `default`. */
  client: Client;
  /** The running server; another one after `restart`. */
  readonly process: RunningProcess;
  /** On the same port; with the same store when it was started with `durable`, else empty. */
  restart(): Promise<void>;
  /** Copies its store, which is `durable`, into a directory, with the server stopped meanwhile. */
  backUp(directory: string): Promise<void>;
  /** Starts the server again with the store as it was copied. */
  restore(directory: string): Promise<void>;
  stop(): Promise<void>;
}

/** A Temporal dev server of this test file's own, up in 0.3 s; in memory unless `durable`. */
export async function startTemporal(
  options: {
    durable?: boolean;
    webUi?: boolean;
    /** Events of a history from which on a workflow is told to continue as new; the server's own number by default. */
    continueAsNewAfter?: number | undefined;
  } = {},
): Promise<TestTemporal> {
  const directory = temporaryDirectory('temporal');
  const port = await freePort();
  const uiPort = options.webUi ? await freePort() : undefined;
  const store = join(directory.path, 'store');
  await mkdir(store);
  const server = await temporalServer({
    binary: provided('temporalBinary'),
    port,
    ...(uiPort === undefined ? {} : { uiPort }),
    ...(options.durable ? { databaseFile: join(store, 'temporal.sqlite') } : {}),
    logFile: join(directory.path, 'temporal.log'),
  });
  const { continueAsNewAfter } = options;
  const suggestion = `--dynamic-config-value=limit.historyCount.suggestContinueAsNew=${continueAsNewAfter}`;
  const spec = continueAsNewAfter === undefined ? server : { ...server, args: [...server.args, suggestion] };
  let process = await startProcess(spec);
  killWithUs(process.identity);
  const address = `127.0.0.1:${port}`;
  const connection = await Connection.connect({ address });
  return {
    address,
    webUi: uiPort === undefined ? undefined : `http://127.0.0.1:${uiPort}`,
    connection,
    client: new Client({ connection }),
    get process() {
      return process;
    },
    async restart() {
      await process.stop();
      process = await startProcess(spec);
      killWithUs(process.identity);
    },
    async backUp(to: string) {
      await process.stop();
      await cp(store, to, { recursive: true });
      process = await startProcess(spec);
      killWithUs(process.identity);
    },
    async restore(from: string) {
      await process.stop();
      await rm(store, { recursive: true });
      await cp(from, store, { recursive: true });
      process = await startProcess(spec);
      killWithUs(process.identity);
    },
    async stop() {
      await connection.close();
      // A store in memory has nothing to save: an orderly end would only take a second longer.
      await process.kill();
      await directory.remove();
    },
  };
}
