import { Client, Connection } from '@temporalio/client';
import {
  DefaultLogger,
  NativeConnection,
  Runtime,
  type TelemetryOptions,
  Worker,
  type WorkerDeploymentOptions,
} from '@temporalio/worker';
import { createJobActivities } from '../../activities/jobs/jobs.js';
import { createSweepJobsActivities } from '../../activities/jobs/sweep-jobs.js';
import { createEnsureKeepersActivities } from '../../activities/optimizers/ensure-keepers.js';
import { createKeeperActivities } from '../../activities/optimizers/keep-group.js';
import { createKeeperUpdateActivities } from '../../activities/optimizers/keeper-updates.js';
import { createStrayActivities } from '../../activities/optimizers/sweep-optimizers.js';
import { createHealActivities } from '../../activities/optimizing/heal.js';
import { createOptimizingActivities } from '../../activities/optimizing/optimizing.js';
import { createLegacyQueueActivities } from '../../activities/regions/legacy-queue.js';
import { createRegionActivities } from '../../activities/regions/regions.js';
import { createSweepActivities } from '../../activities/regions/sweep.js';
import { catalogId, openCatalog, requireMigrated } from '../catalog/catalog.js';
import { ReferenceJobEngine } from '../engines/reference/jobs.js';
import { NodeClients } from '../engines/reference/node-clients.js';
import { ReferenceOptimizerEngine } from '../engines/reference/optimizers.js';
import { ReferenceRegionEngine } from '../engines/reference/regions.js';
import { createLogger, type Logger } from '../log.js';
import { countCatalogError } from '../metrics/catalog-errors.js';
import { serveMetrics } from '../metrics/server.js';
import { addressOf, type ListenAddress } from '../model/listen-address.js';
import { readSettings } from '../model/settings.js';
import { readTransport } from '../model/transport.js';
import { runProcess } from '../process.js';
import { Credentials } from '../rpc/credentials.js';
import type { WorkerBuild } from '../rules/worker-builds.js';
import { Telling } from '../telling.js';
import { clientInterceptors } from '../temporal/client-spans.js';
import { isCommitting, startCommitTable } from '../temporal/commit-table.js';
import { temporalConfig } from '../temporal/connection.js';
import { Payloads } from '../temporal/payloads.js';
import { reaching } from '../temporal/reaching.js';
import { ensureSchedules } from '../temporal/schedules.js';
import { ensureSearchAttributes } from '../temporal/search-attributes.js';
import { isTraced } from '../tracing/tracing.js';
import { aroundActivity } from './activity-context.js';
import { workerBuild } from './build.js';
import { loadContainers } from './containers.js';
import { startKeeperBy } from './keepers.js';
import { isOpenBy, runsBy } from './liveness.js';
import { operationSinks } from './operation-sinks.js';
import { BuildSuccession } from './succession.js';
import { workflowBundle } from './workflow-bundle.js';

/** The Temporal worker process: runs workflows and activities until it is told to stop, then lets them finish. */
await runProcess('worker', async (log, stopping) => {
  const settings = readSettings();
  const credentials = new Credentials(readTransport(), log);
  const payloads = new Payloads(process.env, log);
  const { connectionOptions, namespace } = temporalConfig();
  Runtime.install({ logger: temporalLogger(log), telemetryOptions: sdkMetrics(settings.sdkMetricsListen) });
  const connection = await reaching(connectionOptions, () => NativeConnection.connect(connectionOptions));
  const clientConnection = await reaching(connectionOptions, () => Connection.connect(connectionOptions));
  await ensureSearchAttributes(clientConnection, namespace);
  const server = { connection: clientConnection, namespace };
  const interceptors = await clientInterceptors();
  const client = new Client({ ...server, dataConverter: payloads.ofClient, interceptors });
  const onlooker = new Client({ ...server, dataConverter: payloads.ofOnlooker, interceptors });
  const created = await ensureSchedules(onlooker, settings.taskQueue);
  if (created.length > 0) log.info({ created }, 'schedules created');
  const catalog = openCatalog(settings, {
    name: 'steward-worker',
    connections: settings.databaseConnections,
    onError: countCatalogError,
  });
  await requireMigrated(catalog);
  const clients = new NodeClients(settings.rpcDeadlineMs, credentials);

  const optimizers = new ReferenceOptimizerEngine(clients);
  const containers = await loadContainers(settings.containersModule, optimizers);
  const metrics = settings.metricsListen && (await serveMetrics(settings.metricsListen));

  const dependencies = {
    catalog,
    catalogId: await catalogId(catalog),
    engine: new ReferenceRegionEngine(clients),
    optimizers,
    isOpen: isOpenBy(onlooker),
    settings,
    log: createLogger('regions'),
  };
  const jobs = {
    ...dependencies,
    engine: new ReferenceJobEngine(clients),
    runs: runsBy(onlooker),
    log: createLogger('jobs'),
  };
  const keeping = { ...dependencies, containers, log: createLogger('optimizers') };
  const bundle = workflowBundle(payloads);
  const build = workerBuild(settings, bundle);
  const spans = isTraced() ? await import('./run-spans.js') : undefined;
  const worker = await Worker.create({
    connection,
    namespace,
    taskQueue: settings.taskQueue,
    workflowBundle: { codePath: bundle },
    dataConverter: payloads.ofWorker,
    ...(build && { workerDeploymentOptions: versioned(build) }),
    activities: {
      ...createRegionActivities(dependencies),
      ...createSweepActivities(dependencies),
      ...createLegacyQueueActivities(dependencies),
      ...createStrayActivities({ ...dependencies, log: createLogger('optimizers') }),
      ...createEnsureKeepersActivities({
        catalog,
        startKeeper: startKeeperBy(client, settings.taskQueue),
        log: createLogger('optimizers'),
      }),
      ...createJobActivities(jobs),
      ...createSweepJobsActivities(jobs),
      ...createKeeperActivities(keeping),
      ...createKeeperUpdateActivities(keeping),
      ...createOptimizingActivities({ catalog, settings, log: createLogger('optimizing') }),
      ...createHealActivities({
        catalog,
        catalogId: dependencies.catalogId,
        optimizers,
        isCommitting: (commit) => isCommitting(onlooker, commit),
        startCommit: (commit, actor) => startCommitTable(client, settings.taskQueue, commit, actor),
        log: createLogger('heal'),
      }),
    },
    sinks: operationSinks(spans?.tellRun),
    interceptors: { activity: [...(spans?.activitySpans ?? []), aroundActivity] },
    // A killed worker's next workflow task waits for its sticky queue: keep that short.
    stickyQueueScheduleToStartTimeout: '1s',
    shutdownGraceTime: '5s',
    shutdownForceTime: '10s',
    maxCachedWorkflows: 200,
    maxConcurrentActivityTaskExecutions: 50,
  });
  const run = worker.run();
  const telling = new Telling(catalog, 'worker', settings, log, build);
  const successor = build && new BuildSuccession(client, catalog, build, worker.options.identity, log);
  const end = async () => {
    try {
      await run;
    } finally {
      await successor?.stop();
      await metrics?.close();
      await telling.stop();
      clients.close();
      credentials.close();
      payloads.close();
      await catalog.destroy();
      await connection.close();
      await clientConnection.close();
    }
  };
  void stopping.then(() => {
    void successor?.stop();
    worker.shutdown();
  });
  return {
    ready: {
      taskQueue: settings.taskQueue,
      namespace,
      ...build,
      ...(metrics && { metrics: metrics.url }),
    },
    ended: end(),
  };
});

/**
 * Open workflows go over to the build that is made current: they outlive builds, so no build has to be kept running until
 * the last one has ended. Recorded histories (test/replay) prove that they can.
 */
function versioned({ deployment: deploymentName, buildId }: WorkerBuild): WorkerDeploymentOptions {
  return {
    version: { deploymentName, buildId },
    useWorkerVersioning: true,
    defaultVersioningBehavior: 'AUTO_UPGRADE',
  };
}

function sdkMetrics(listen: ListenAddress | undefined): TelemetryOptions {
  if (listen === undefined) return {};
  return { metrics: { prometheus: { bindAddress: addressOf(listen) } } };
}

function temporalLogger(log: Logger): DefaultLogger {
  return new DefaultLogger('INFO', ({ level, message, meta }) => {
    const write = { TRACE: 'trace', DEBUG: 'debug', INFO: 'debug', WARN: 'warn', ERROR: 'error' } as const;
    const { error, ...about } = meta ?? {};
    log[write[level]]({ ...about, ...(error !== undefined && { err: error }) }, message);
  });
}
