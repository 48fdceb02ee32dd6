import { sql } from 'kysely';
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
  return catalog
    .selectFrom('control_process')
    .select([
      'kind',
      'version',
      'host',
      'pid',
      'task_queue as taskQueue',
      'node_timeout_ms as nodeTimeoutMs',
      'started_at as startedAt',
      sql<number>`greatest(0, extract(epoch FROM now() - last_seen) * 1000)::bigint`.as('silentMs'),
      sql<boolean>`last_seen > now() - make_interval(secs => ${ALIVE_FOR_MS / 1_000})`.as('alive'),
    ])
    .where(sql<boolean>`NOT ${isOld()}`)
    .orderBy('kind')
    .orderBy('started_at')
    .execute();
}

function isOld() {
  return sql<boolean>`(last_seen < now() - make_interval(secs => ${KEPT_MS / 1_000}))`;
}
