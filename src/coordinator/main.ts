import { parseArgs } from 'node:util';
import { Code, ConnectError, type Interceptor } from '@connectrpc/connect';
import { catalogId, migrateCatalog, openCatalog } from '../catalog/catalog.js';
import { listenAddress } from '../command-line.js';
import type { Logger } from '../log.js';
import { countCatalogError } from '../metrics/catalog-errors.js';
import { serveMetrics } from '../metrics/server.js';
import { readSettings } from '../model/settings.js';
import { readTransport, TRANSPORT_FLAGS } from '../model/transport.js';
import { runProcess } from '../process.js';
import { Credentials } from '../rpc/credentials.js';
import { CatalogService } from '../rpc/gen/steward/coordinator/v1/catalog_pb.js';
import { HealService } from '../rpc/gen/steward/coordinator/v1/heal_pb.js';
import { JobService } from '../rpc/gen/steward/coordinator/v1/jobs_pb.js';
import { OptimizerGroupService } from '../rpc/gen/steward/coordinator/v1/optimizer_groups_pb.js';
import { OptimizingService } from '../rpc/gen/steward/coordinator/v1/optimizing_pb.js';
import { NodeRegistryService } from '../rpc/gen/steward/coordinator/v1/registry_pb.js';
import { TableService } from '../rpc/gen/steward/coordinator/v1/tables_pb.js';
import { TaskGroupService } from '../rpc/gen/steward/coordinator/v1/task_groups_pb.js';
import { checkListening } from '../rpc/plain-text.js';
import { RpcServer } from '../rpc/server.js';
import { Telling } from '../telling.js';
import { LazyClient } from '../temporal/lazy-client.js';
import { Payloads } from '../temporal/payloads.js';
import { catalogService } from './catalog-service.js';
import { CatalogState } from './catalog-state.js';
import { CommitStarter } from './commit-starter.js';
import { healService } from './heal-service.js';
import { jobService } from './job-service.js';
import { JobSignals } from './job-signals.js';
import { optimizerGroupService } from './optimizer-group-service.js';
import { optimizingService } from './optimizing-service.js';
import { nodeRegistryService } from './registry-service.js';
import { Settler } from './settler.js';
import { tableService } from './table-service.js';
import { taskGroupService } from './task-group-service.js';

/** For calls that are being answered when the coordinator stops. */
const ANSWER_GRACE_MS = 1000;

/** The coordinator process: the control plane's RPC side. Any number of them may run on one catalog. */
await runProcess('coordinator', async (log, stopping) => {
  const { values } = parseArgs({
    options: {
      listen: { type: 'string', default: '127.0.0.1:0' },
      'exit-with-parent': { type: 'boolean' },
      ...TRANSPORT_FLAGS,
    },
  });
  const settings = readSettings();
  const transport = readTransport(process.env, values);
  const { host, port } = listenAddress(values.listen);
  checkListening(host, transport);
  const credentials = new Credentials(transport, log);
  const catalog = openCatalog(settings, {
    name: 'steward-coordinator',
    connections: settings.databaseConnections,
    onError: countCatalogError,
  });
  const { applied } = await migrateCatalog(catalog);
  if (applied.length > 0) log.info({ applied }, 'catalog migrated');

  const payloads = new Payloads(process.env, log);
  const temporal = new LazyClient(payloads);
  const settler = new Settler(catalog, new CommitStarter(temporal, settings.taskQueue), log);
  const signals = new JobSignals(temporal, log);
  const id = await catalogId(catalog);
  const server = new RpcServer(
    {
      interceptors: [translateErrors(log)],
      routes: (router) => {
        router.service(NodeRegistryService, nodeRegistryService(catalog, settings, log));
        router.service(CatalogService, catalogService(catalog, settings, log));
        router.service(OptimizingService, optimizingService(catalog, settings, settler, log));
        router.service(OptimizerGroupService, optimizerGroupService(catalog));
        router.service(TableService, tableService(catalog, settings, log));
        router.service(HealService, healService(catalog, log));
        router.service(TaskGroupService, taskGroupService(catalog, id, signals, log));
        router.service(JobService, jobService(catalog));
      },
    },
    credentials,
    log,
  );
  const state = new CatalogState(catalog, settings.nodeTimeoutMs);
  const metrics =
    settings.metricsListen && (await serveMetrics(settings.metricsListen, () => state.refresh()));
  const url = await server.listen(host, port);
  const telling = new Telling(catalog, 'coordinator', settings, log);
  return {
    ready: { url, ...(metrics && { metrics: metrics.url }) },
    ended: stopping.then(async () => {
      await metrics?.close();
      await server.close(ANSWER_GRACE_MS);
      credentials.close();
      await settler.idle();
      await temporal.close();
      payloads.close();
      await telling.stop();
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
