import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2';
import { type Client, Code, ConnectError, createClient, type Interceptor } from '@connectrpc/connect';
import { RpcConnection, type RpcConnectionOptions } from '../rpc/connection.js';
import { type Credentials, present } from '../rpc/credentials.js';
import { FaultService } from '../rpc/gen/steward/worker/v1/fault_pb.js';
import { InventoryService } from '../rpc/gen/steward/worker/v1/inventory_pb.js';
import { type GetNodeInfoResponse, NodeService } from '../rpc/gen/steward/worker/v1/node_pb.js';
import { OperationService } from '../rpc/gen/steward/worker/v1/operation_pb.js';

/** Where the node is, and how to speak to it. */
export interface Target {
  /** Base URL. */
  readonly url: string;
  /** What the node is shown, and whom it has to be. */
  readonly credentials: Credentials;
}

/** The address cannot be used for checking; the message says why. */
export class TargetError extends Error {
  override readonly name = 'TargetError';

  constructor(
    /** Nobody answers there; somebody who is no node; somebody who does not trust us, or whom we do not trust. */
    readonly reason: 'UNREACHABLE' | 'NO_NODE' | 'UNTRUSTED',
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

export type Wire = NonNullable<RpcConnectionOptions['protocol']>;

/** Clients of all services of the node, over a connection of their own. */
export interface Connection {
  readonly operations: Client<typeof OperationService>;
  readonly inventory: Client<typeof InventoryService>;
  readonly node: Client<typeof NodeService>;
  readonly faults: Client<typeof FaultService>;
  close(): void;
}

/** After this a call counts as not answered. */
const CALL_DEADLINE_MS = 10_000;

/** Opens a connection; nothing is sent before the first call. */
export function connect(
  { url, credentials }: Target,
  interceptors: readonly Interceptor[] = [],
  protocol: Wire = 'connect',
): Connection {
  const connection = new RpcConnection(url, credentials, {
    deadlineMs: CALL_DEADLINE_MS,
    interceptors,
    protocol,
  });
  const { transport } = connection;
  return {
    operations: createClient(OperationService, transport),
    inventory: createClient(InventoryService, transport),
    node: createClient(NodeService, transport),
    faults: createClient(FaultService, transport),
    close: () => connection.close(),
  };
}

/** By then the trailers of an answer that has ended were heard. */
const AFTER_END_MS = 100;

/** What came back over plain HTTP. */
export interface RawAnswer {
  /** 0: the call was cut off, or not answered in time. */
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** Sends bytes that no client would send. */
export async function rawCall(
  target: Target,
  request: {
    readonly path: string;
    readonly method?: string;
    readonly contentType?: string;
    readonly body?: Uint8Array;
  },
): Promise<RawAnswer> {
  const session = openSession(target);
  const { tokens } = target.credentials;
  try {
    return await new Promise<RawAnswer>((resolve) => {
      const stream = session.request({
        ':method': request.method ?? 'POST',
        ':path': request.path,
        ...(tokens === undefined ? {} : { authorization: tokens.authorization }),
        ...(request.contentType === undefined ? {} : { 'content-type': request.contentType }),
      });
      const headers: Record<string, string> = {};
      const chunks: Buffer[] = [];
      let status = 0;
      const take = (more: object): void => {
        for (const [name, value] of Object.entries(more)) headers[name] = String(value);
      };
      const done = (): void => resolve({ status, headers, body: Buffer.concat(chunks).toString('utf8') });
      const deadline = setTimeout(done, CALL_DEADLINE_MS);
      stream.on('response', (more) => {
        status = Number(more[':status']);
        take(more);
      });
      stream.on('trailers', take);
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      // A node that has heard enough may cut the call off while its body is being sent. Node.js then never closes the
      // stream when the code is NO_ERROR, as bytes are left to be written; what was answered has come by its end.
      stream.on('error', () => undefined);
      stream.once('end', () => setTimeout(done, AFTER_END_MS));
      stream.once('close', () => {
        clearTimeout(deadline);
        done();
      });
      session.on('error', done);
      stream.end(request.body === undefined ? undefined : Buffer.from(request.body));
    });
  } finally {
    session.destroy();
  }
}

/** Opens a connection and resolves `closed` when it is gone, as it is when the process at its other end was killed. */
export async function watchConnection(target: Target): Promise<{ closed: Promise<void>; close(): void }> {
  const session = openSession(target);
  const closed = new Promise<void>((resolve) => session.once('close', () => resolve()));
  await new Promise<void>((resolve, reject) => {
    session.once('connect', () => resolve());
    session.once('error', reject);
  });
  return { closed, close: () => session.destroy() };
}

function openSession({ url, credentials }: Target): ClientHttp2Session {
  const session = connectHttp2(url, { ...present(credentials.tls), minVersion: 'TLSv1.2' });
  session.on('error', () => undefined);
  return session;
}

/** Asks who the node is. Throws TargetError when there is none. */
export async function askNodeInfo(target: Target): Promise<GetNodeInfoResponse> {
  await demandHttp2(target);
  const connection = connect(target);
  let info: GetNodeInfoResponse;
  try {
    info = await connection.node.getNodeInfo({});
  } catch (thrown) {
    const error = ConnectError.from(thrown);
    const { code, rawMessage } = error;
    if (code === Code.Unavailable || code === Code.DeadlineExceeded) {
      throw new TargetError('UNREACHABLE', `${target.url} cannot be reached: ${rawMessage}`, {
        cause: error,
      });
    }
    if (code === Code.Unauthenticated || code === Code.PermissionDenied) {
      throw new TargetError('UNTRUSTED', `${target.url} does not let us in: ${rawMessage}`, { cause: error });
    }
    throw noNode(target, `GetNodeInfo answers ${Code[code]}: ${rawMessage}`, error);
  } finally {
    connection.close();
  }
  if (info.nodeId === '' || info.ledgerId === '') {
    throw noNode(target, 'GetNodeInfo answers no node id or no ledger id');
  }
  return info;
}

function noNode({ url }: Target, why: string, cause?: Error): TargetError {
  const message = `what answers at ${url} is no node of the worker contract: ${why}`;
  return new TargetError('NO_NODE', message, cause && { cause });
}

/** Throws TargetError when somebody answers who does not speak HTTP/2; any other trouble shows in the first call. */
async function demandHttp2(target: Target): Promise<void> {
  const session = openSession(target);
  try {
    const problem = await new Promise<NodeJS.ErrnoException | 'silent' | undefined>((resolve) => {
      session.once('remoteSettings', () => resolve(undefined));
      session.once('error', resolve);
      session.setTimeout(CALL_DEADLINE_MS, () => resolve('silent'));
    });
    if (problem === 'silent' || problem?.code === 'ERR_HTTP2_ERROR') {
      throw noNode(target, 'it does not speak HTTP/2');
    }
  } finally {
    session.destroy();
  }
}
