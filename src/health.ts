import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { get as getSecurely } from 'node:https';
import { createClient } from '@connectrpc/connect';
import { messageOf } from './message-of.js';
import { readTransport } from './model/transport.js';
import { RpcConnection } from './rpc/connection.js';
import { Credentials, present } from './rpc/credentials.js';
import { CatalogService } from './rpc/gen/steward/coordinator/v1/catalog_pb.js';
import { NodeService } from './rpc/gen/steward/worker/v1/node_pb.js';

/**
 * `health.js coordinator|node|worker|codec-server <url>`: asks a process what others ask it, with the same certificates and
 * token. Exits with 0 when it was answered, else with 1 and the reason in one line; for the health checks of containers.
 */
const DEADLINE_MS = 3_000;

const checks = {
  /** Answers from the catalog, so that a coordinator without PostgreSQL gets no callers. */
  coordinator: (url: string) =>
    withConnection(url, (connection) => createClient(CatalogService, connection.transport).listNodes({})),
  node: (url: string) =>
    withConnection(url, (connection) => createClient(NodeService, connection.transport).getNodeInfo({})),
  /** The page of its metrics. */
  worker: serves,
  /** The page that asks for the token. */
  'codec-server': serves,
} satisfies Record<string, (url: string) => Promise<unknown>>;

try {
  const [kind = '', url = ''] = process.argv.slice(2);
  if (!Object.hasOwn(checks, kind) || !URL.canParse(url)) {
    throw new Error(`usage: health.js ${Object.keys(checks).join('|')} <url>`);
  }
  await checks[kind as keyof typeof checks](url);
  process.exit(0);
} catch (error) {
  process.stderr.write(`${messageOf(error)}\n`);
  process.exit(1);
}

async function serves(url: string): Promise<void> {
  const { tls } = new Credentials(readTransport());
  const signal = AbortSignal.timeout(DEADLINE_MS);
  const asked = url.startsWith('https:')
    ? getSecurely(url, { ...present(tls), signal })
    : get(url, { signal });
  const [{ statusCode }] = (await once(asked, 'response')) as [IncomingMessage];
  if (statusCode !== 200) throw new Error(`${url} answers ${statusCode}`);
}

async function withConnection(url: string, ask: (connection: RpcConnection) => Promise<unknown>) {
  const connection = new RpcConnection(url, new Credentials(readTransport()), { deadlineMs: DEADLINE_MS });
  await ask(connection);
}
