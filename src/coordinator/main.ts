import { createServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { parseArgs } from 'node:util';
import { Code, ConnectError, type Interceptor } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { migrateCatalog, openCatalog } from '../catalog/catalog.js';
import type { Logger } from '../log.js';
import { readSettings } from '../model/settings.js';
import { runProcess } from '../process.js';
import { CatalogService } from '../rpc/gen/steward/coordinator/v1/catalog_pb.js';
import { NodeRegistryService } from '../rpc/gen/steward/coordinator/v1/registry_pb.js';
import { catalogService } from './catalog-service.js';
import { nodeRegistryService } from './registry-service.js';

/** The coordinator process: the control plane's RPC side. Any number of them may run on one catalog. */
await runProcess('coordinator', async (log, stopping) => {
  const { values } = parseArgs({
    options: { listen: { type: 'string', default: '127.0.0.1:0' }, 'exit-with-parent': { type: 'boolean' } },
  });
  const settings = readSettings();
  const catalog = openCatalog(settings, { name: 'steward-coordinator' });
  const { applied } = await migrateCatalog(catalog);
  if (applied.length > 0) log.info({ applied }, 'catalog migrated');

  const server = createServer(
    connectNodeAdapter({
      interceptors: [translateErrors(log)],
      routes: (router) => {
        router.service(NodeRegistryService, nodeRegistryService(catalog, settings, log));
        router.service(CatalogService, catalogService(catalog, settings, log));
      },
    }),
  );
  const sessions = new Set<{ destroy(): void }>();
  server.on('session', (session) => {
    sessions.add(session);
    session.once('close', () => sessions.delete(session));
  });
  const url = await listen(server, values.listen);
  return {
    ready: { url },
    ended: stopping.then(async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const session of sessions) session.destroy();
      await closed;
      await catalog.destroy();
    }),
  };
});

/** What is not an answer to the caller is logged in full, and told as UNAVAILABLE: the call may be repeated. */
function translateErrors(log: Logger): Interceptor {
  return (next) => async (request) => {
    try {
      return await next(request);
    } catch (error) {
      if (error instanceof ConnectError) throw error;
      log.error({ err: error, method: request.method.name }, 'call failed');
      throw new ConnectError('the catalog cannot be reached or is too busy; ask again', Code.Unavailable);
    }
  };
}

function listen(server: ReturnType<typeof createServer>, address: string): Promise<string> {
  const match = /^(.+):(\d+)$/.exec(address);
  if (match === null) throw new Error(`--listen ${address}: expected host:port`);
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(Number(match[2]), match[1], () => {
      const { port } = server.address() as AddressInfo;
      resolve(`http://${match[1]}:${port}`);
    });
  });
}
