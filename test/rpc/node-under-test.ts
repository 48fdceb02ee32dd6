import { readFileSync } from 'node:fs';
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from 'node:http2';
import { ConnectError, createClient } from '@connectrpc/connect';
import { readTransport } from '../../src/model/transport.js';
import { RpcConnection } from '../../src/rpc/connection.js';
import { Credentials } from '../../src/rpc/credentials.js';
import { FaultService } from '../../src/rpc/gen/steward/worker/v1/fault_pb.js';
import { NodeService } from '../../src/rpc/gen/steward/worker/v1/node_pb.js';
import { temporaryDirectory } from '../support/guard.js';
import { startProgram, type TestProcess } from '../support/processes.js';

type Environment = Readonly<Record<string, string | undefined>>;

/** A reference node with its own transport settings. */
export interface NodeUnderTest {
  readonly process: TestProcess;
  readonly url: string;
  log(): string;
  end(): Promise<void>;
}

export async function startNodeUnderTest(
  env: Environment,
  ...flags: readonly string[]
): Promise<NodeUnderTest> {
  const home = temporaryDirectory('transport-node');
  try {
    const process = await startProgram({
      name: 'node-1',
      program: 'src/node/main.ts',
      directory: home.path,
      args: ['--id', 'node-1', '--data', `${home.path}/data`, '--allow-faults', ...flags],
      env: { STEWARD_LOG_LEVEL: 'debug', STEWARD_CREDENTIALS_POLL_MS: '30', ...env },
    });
    return {
      process,
      url: String(process.ready['url']),
      log: () => readFileSync(process.logFile, 'utf8'),
      async end() {
        await process.stop();
        await home.remove();
      },
    };
  } catch (error) {
    await home.remove();
    throw error;
  }
}

/** A caller with these credentials, over a connection of its own. */
export interface Caller {
  /** The id that the node tells; throws ConnectError. */
  whoAreYou(): Promise<string>;
  /** Makes the next calls of ListRegions take this long. */
  delayLists(ms: number): Promise<void>;
  readonly connection: RpcConnection;
  close(): void;
}

export function caller(url: string, env: Environment = {}): Caller {
  const credentials = new Credentials(readTransport({ STEWARD_CREDENTIALS_POLL_MS: '30', ...env }));
  const connection = new RpcConnection(url, credentials, { deadlineMs: 5_000 });
  return {
    connection,
    whoAreYou: async () => (await createClient(NodeService, connection.transport).getNodeInfo({})).nodeId,
    delayLists: async (ms) => {
      const kind = { case: 'delay' as const, value: { seconds: BigInt(Math.floor(ms / 1_000)), nanos: 0 } };
      await createClient(FaultService, connection.transport).setFault({
        fault: { target: 'ListRegions', times: 0, match: '', kind },
      });
    },
    close() {
      connection.close();
      credentials.close();
    },
  };
}

/** One call of a caller that is closed afterwards. */
export async function askOnce(url: string, env: Environment = {}): Promise<string> {
  const one = caller(url, env);
  try {
    return await one.whoAreYou();
  } finally {
    one.close();
  }
}

export async function errorOf(promise: Promise<unknown>): Promise<ConnectError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof ConnectError) return error;
    throw error;
  }
  throw new Error('expected an error');
}

export const GET_NODE_INFO = '/steward.worker.v1.NodeService/GetNodeInfo';

/** How a stream ended, as its caller saw it. */
export interface Answer {
  readonly status: number | undefined;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: string;
  /** HTTP/2 error code; 0 when there is none. */
  readonly reset: number;
}

/** A connection without any manners. */
export function rawSession(url: string, options: Parameters<typeof connect>[1] = {}): ClientHttp2Session {
  const session = connect(url, options);
  session.on('error', () => {});
  return session;
}

/** Sends the headers of a call; the body is the test's. */
export function rawCall(
  session: ClientHttp2Session,
  headers: Readonly<Record<string, string>> = {},
  path = GET_NODE_INFO,
): { readonly stream: ClientHttp2Stream; readonly answer: Promise<Answer> } {
  const stream = session.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/json',
    ...headers,
  });
  const chunks: Buffer[] = [];
  let head: Record<string, unknown> = {};
  stream.on('response', (response) => {
    head = { ...response };
  });
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  stream.on('error', () => {});
  const answer = new Promise<Answer>((resolve) => {
    const settle = (): void =>
      resolve({
        status: head[':status'] as number | undefined,
        headers: head,
        body: Buffer.concat(chunks).toString(),
        reset: stream.rstCode ?? 0,
      });
    // A stream that is answered before its body was sent stays open on this side.
    stream.once('end', () => {
      if (head[':status'] !== undefined) settle();
    });
    stream.once('close', settle);
  });
  return { stream, answer };
}
