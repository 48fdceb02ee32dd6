import { sql } from 'kysely';
import type { Logger } from '../../log.js';
import { placeTaskGroups, type TaskGroupHost } from '../../rules/placement.js';
import type { Catalog, CatalogTransaction } from '../catalog.js';
import { isAlive } from '../nodes.js';
import {
  type JobKey,
  type JobStanding,
  lockJob,
  moveJob,
  moveTaskGroup,
  settlePipelines,
  standingOf,
  taskGroupsOf,
} from './rows.js';

/** The capability of nodes that run task groups. */
const CAPABILITY = 'task-groups';

/** There are not enough places for all task groups of the job; nothing has changed. */
export interface NoPlace {
  readonly kind: 'NO_PLACE';
  readonly taskGroups: number;
  /** Live nodes that run task groups. */
  readonly nodes: number;
  /** Task groups that these have, and may have. */
  readonly taken: number;
  readonly places: number;
}

/**
 * Gives every task group of a CREATED job a live node that has a place for it, so that the task groups of all jobs are spread
 * as evenly as they can be; the job is SCHEDULED then. A node that still owes the job a cancel is taken only when the others
 * do not suffice.
 */
export async function scheduleJob(
  catalog: Catalog,
  key: JobKey,
  nodeTimeoutMs: number,
  log: Logger,
): Promise<JobStanding | 'GONE' | NoPlace> {
  return catalog.transaction().execute(async (transaction) => {
    const job = await lockJob(transaction, key);
    if (job === undefined) return 'GONE';
    if (job.state !== 'CREATED') return standingOf(transaction, job);
    // One job at a time, so that no two are given the same place.
    await sql`SELECT pg_advisory_xact_lock(hashtextextended('task-group-places', 0))`.execute(transaction);
    const hosts = await taskGroupHosts(transaction, key.jobId, nodeTimeoutMs);
    const rows = (await taskGroupsOf(transaction, key)).filter(({ state }) => state === 'CREATED');
    const chosen =
      placeTaskGroups(
        hosts.filter(({ owes }) => !owes),
        rows.length,
      ) ?? placeTaskGroups(hosts, rows.length);
    if (chosen === undefined) {
      const sum = (of: (host: TaskGroupHost) => number) => hosts.reduce((total, host) => total + of(host), 0);
      return {
        kind: 'NO_PLACE',
        taskGroups: rows.length,
        nodes: hosts.length,
        taken: sum(({ taskGroups }) => taskGroups),
        places: sum(({ maxTaskGroups = Number.POSITIVE_INFINITY }) => maxTaskGroups),
      };
    }
    const ledgers = new Map(hosts.map(({ nodeId, ledgerId }) => [nodeId, ledgerId]));
    for (const [at, row] of rows.entries()) {
      const nodeId = chosen[at]!;
      await transaction
        .updateTable('task_group')
        .set({ node_id: nodeId, ledger_id: ledgers.get(nodeId)! })
        .where('job_id', '=', key.jobId)
        .where('owner', '=', key.owner)
        .where('pipeline', '=', row.pipeline)
        .where('task_group', '=', row.task_group)
        .execute();
      await moveTaskGroup(transaction, { ...row, node_id: nodeId }, 'DEPLOYING', {}, log);
    }
    const moved = await moveJob(transaction, job, 'SCHEDULED', {}, log);
    await settlePipelines(transaction, key, log);
    return standingOf(transaction, moved ?? job);
  });
}

/** Live nodes that run task groups, and whether they owe this job a cancel. */
async function taskGroupHosts(
  transaction: CatalogTransaction,
  jobId: string,
  nodeTimeoutMs: number,
): Promise<(TaskGroupHost & { readonly ledgerId: string; readonly owes: boolean })[]> {
  const rows = await transaction
    .selectFrom('node')
    .select((expression) => [
      'node_id',
      'ledger_id',
      'max_task_groups',
      expression
        .selectFrom('task_group')
        .whereRef('task_group.node_id', '=', 'node.node_id')
        .where('task_group.state', 'in', ['DEPLOYING', 'RUNNING', 'CANCELING'])
        .select(sql<number>`count(*)`.as('count'))
        .$asScalar()
        .$notNull()
        .as('task_groups'),
      expression
        .exists(
          expression
            .selectFrom('owed_cancel')
            .select('owed_cancel.job_id')
            .whereRef('owed_cancel.node_id', '=', 'node.node_id')
            .where('owed_cancel.job_id', '=', jobId),
        )
        .as('owes'),
    ])
    .where(isAlive(nodeTimeoutMs))
    .where(sql<boolean>`${CAPABILITY} = ANY (node.capabilities)`)
    .execute();
  return rows.map((row) => ({
    nodeId: row.node_id,
    ledgerId: row.ledger_id,
    taskGroups: row.task_groups,
    ...(row.max_task_groups !== null && { maxTaskGroups: row.max_task_groups }),
    owes: Boolean(row.owes),
  }));
}

/** Moves a job whose task groups are all deployed, or of which one could not be. */
export async function settleDeployment(
  catalog: Catalog,
  key: JobKey,
  execution: number,
  log: Logger,
): Promise<JobStanding | 'GONE'> {
  return catalog.transaction().execute(async (transaction) => {
    const job = await lockJob(transaction, key);
    if (job === undefined) return 'GONE';
    if (job.state !== 'SCHEDULED' || job.execution !== execution) return standingOf(transaction, job);
    const rows = await settlePipelines(transaction, key, log);
    const failed = rows.find(({ state }) => state === 'FAILED' || state === 'CANCELED');
    if (failed === undefined && rows.some(({ state }) => state === 'DEPLOYING'))
      return standingOf(transaction, job);
    const reason =
      failed &&
      `pipeline ${failed.pipeline}, task group ${failed.task_group}: ${failed.error ?? failed.state}`;
    const moved = await moveJob(
      transaction,
      job,
      failed === undefined ? 'RUNNING' : 'FAILING',
      reason === undefined ? {} : { reason },
      log,
    );
    return standingOf(transaction, moved ?? job);
  });
}
