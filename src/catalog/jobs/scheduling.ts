import { sql } from 'kysely';
import type { Logger } from '../../log.js';
import { placeMissing } from '../../rules/placement.js';
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

/**
 * Gives every task group of a CREATED job a live node, so that the task groups of all jobs are spread as evenly as they can
 * be; the job is SCHEDULED then. NO_NODE changes nothing. A node that still owes the job a cancel is taken only when there is
 * no other.
 */
export async function scheduleJob(
  catalog: Catalog,
  key: JobKey,
  nodeTimeoutMs: number,
  log: Logger,
): Promise<JobStanding | 'GONE' | 'NO_NODE'> {
  return catalog.transaction().execute(async (transaction) => {
    const job = await lockJob(transaction, key);
    if (job === undefined) return 'GONE';
    if (job.state !== 'CREATED') return standingOf(transaction, job);
    const nodes = await candidates(transaction, key.jobId, nodeTimeoutMs);
    const free = nodes.filter(({ owes }) => !owes);
    const chosen = free.length > 0 ? free : nodes;
    if (chosen.length === 0) return 'NO_NODE';
    const load = new Map(chosen.map(({ node_id, task_groups }) => [node_id, task_groups]));
    const ledgers = new Map(chosen.map(({ node_id, ledger_id }) => [node_id, ledger_id]));
    for (const row of await taskGroupsOf(transaction, key)) {
      if (row.state !== 'CREATED') continue;
      const [nodeId] = placeMissing(load, [], 1);
      await transaction
        .updateTable('task_group')
        .set({ node_id: nodeId!, ledger_id: ledgers.get(nodeId!)! })
        .where('job_id', '=', key.jobId)
        .where('owner', '=', key.owner)
        .where('pipeline', '=', row.pipeline)
        .where('task_group', '=', row.task_group)
        .execute();
      await moveTaskGroup(transaction, { ...row, node_id: nodeId! }, 'DEPLOYING', {}, log);
    }
    const moved = await moveJob(transaction, job, 'SCHEDULED', {}, log);
    await settlePipelines(transaction, key, log);
    return standingOf(transaction, moved ?? job);
  });
}

/** Live nodes that run task groups, how many they have, and whether they owe this job a cancel. */
async function candidates(transaction: CatalogTransaction, jobId: string, nodeTimeoutMs: number) {
  return transaction
    .selectFrom('node')
    .select((expression) => [
      'node_id',
      'ledger_id',
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
