import { sql } from 'kysely';
import type { WorkerBuild } from '../rules/worker-builds.js';
import type { Catalog } from './catalog.js';

/** A coordinator or a worker, as it tells of itself. */
export interface ControlProcess {
  /** UUID of this process. */
  readonly processId: string;
  readonly kind: 'coordinator' | 'worker';
  readonly version: string;
  readonly host: string;
  readonly pid: number;
  readonly taskQueue: string;
  readonly nodeTimeoutMs: number;
  /** Only of a worker that Temporal gives work by its build. */
  readonly build?: WorkerBuild | undefined;
}

export interface ControlProcessStatus extends Omit<ControlProcess, 'processId'> {
  readonly startedAt: Date;
  /** Milliseconds since it told of itself last, by the catalog's clock. */
  readonly silentMs: number;
  readonly alive: boolean;
}

/** How often a process tells of itself. */
export const TOLD_EVERY_MS = 3_000;
/** One that has told nothing for longer does not run any more. */
const ALIVE_FOR_MS = 15_000;
/** What is left of processes that were killed goes after this. */
const KEPT_MS = 3_600_000;

export async function tellProcess(catalog: Catalog, process: ControlProcess): Promise<void> {
  await catalog
    .insertInto('control_process')
    .values({
      process_id: process.processId,
      kind: process.kind,
      version: process.version,
      host: process.host,
      pid: process.pid,
      task_queue: process.taskQueue,
      node_timeout_ms: process.nodeTimeoutMs,
      deployment: process.build?.deployment ?? null,
      build_id: process.build?.buildId ?? null,
    })
    .onConflict((conflict) => conflict.column('process_id').doUpdateSet({ last_seen: sql`now()` }))
    .execute();
}

/** A process that ends leaves nothing behind, and takes along what killed ones left long ago. */
export async function forgetProcess(catalog: Catalog, processId: string): Promise<void> {
  await catalog
    .deleteFrom('control_process')
    .where((where) => where.or([where('process_id', '=', processId), isOld()]))
    .execute();
}

/** In the order of kinds, the oldest first. */
export async function listProcesses(catalog: Catalog): Promise<ControlProcessStatus[]> {
  const rows = await catalog
    .selectFrom('control_process')
    .select([
      'kind',
      'version',
      'host',
      'pid',
      'task_queue as taskQueue',
      'node_timeout_ms as nodeTimeoutMs',
      'deployment',
      'build_id as buildId',
      'started_at as startedAt',
      sql<number>`greatest(0, extract(epoch FROM now() - last_seen) * 1000)::bigint`.as('silentMs'),
      isAlive().as('alive'),
    ])
    .where(sql<boolean>`NOT ${isOld()}`)
    .orderBy('kind')
    .orderBy('started_at')
    .execute();
  return rows.map(({ deployment, buildId, ...row }) => ({
    ...row,
    ...(deployment !== null && buildId !== null && { build: { deployment, buildId } }),
  }));
}

/** Builds of the workers of a deployment that run, each once. */
export async function livingBuilds(catalog: Catalog, deployment: string): Promise<string[]> {
  const rows = await catalog
    .selectFrom('control_process')
    .select('build_id')
    .distinct()
    .where('deployment', '=', deployment)
    .where(isAlive())
    .execute();
  return rows.flatMap(({ build_id }) => build_id ?? []);
}

function isAlive() {
  return sql<boolean>`(last_seen > now() - make_interval(secs => ${ALIVE_FOR_MS / 1_000}))`;
}

function isOld() {
  return sql<boolean>`(last_seen < now() - make_interval(secs => ${KEPT_MS / 1_000}))`;
}
