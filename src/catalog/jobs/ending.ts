import { sql } from 'kysely';
import type { Logger } from '../../log.js';
import { isJobOver, isTaskGroupOver, judgeExecution, type TerminalJobState } from '../../rules/job-states.js';
import { type Catalog, type CatalogTransaction, nextEpoch } from '../catalog.js';
import { oweCancelsOf } from './cancels.js';
import { dropOlderCheckpoints, lastCheckpoints } from './checkpoints.js';
import {
  type JobKey,
  type JobRow,
  type JobStanding,
  lockJob,
  moveJob,
  moveTaskGroup,
  nameOf,
  settlePipelines,
  standingOf,
  taskGroupsOf,
} from './rows.js';
import { writeSavepoint } from './savepoints.js';

/**
 * Judges a RUNNING job by its task groups: it goes on, is FINISHED, and with that a tombstone, or is FAILING, and with that
 * every node is owed a cancel of what still runs.
 */
export async function judgeJob(
  catalog: Catalog,
  key: JobKey,
  execution: number,
  log: Logger,
): Promise<JobStanding | 'GONE'> {
  return catalog.transaction().execute(async (transaction) => {
    const job = await lockJob(transaction, key);
    if (job === undefined) return 'GONE';
    if (job.state !== 'RUNNING' || job.execution !== execution) return standingOf(transaction, job);
    const rows = await settlePipelines(transaction, key, log);
    switch (judgeExecution(rows.map(({ state }) => state))) {
      case 'RUNS':
        return standingOf(transaction, job);
      case 'FINISHED':
        return closeJob(transaction, job, 'FINISHED', log);
      case 'FAILED': {
        const failed = rows.find(({ state }) => state === 'FAILED' || state === 'CANCELED')!;
        const reason = `${nameOf(failed)} on ${failed.node_id}: ${failed.error ?? 'cancelled at its node'}`;
        return standingOf(transaction, (await moveJob(transaction, job, 'FAILING', { reason }, log)) ?? job);
      }
    }
  });
}

/** Begins to end a job because somebody asked for it. One that is over, or ends already, stays as it is. */
export async function stopJob(
  catalog: Catalog,
  key: JobKey,
  to: 'CANCELING' | 'DOING_SAVEPOINT',
  log: Logger,
): Promise<JobStanding | 'GONE'> {
  return catalog.transaction().execute(async (transaction) => {
    const job = await lockJob(transaction, key);
    if (job === undefined) return 'GONE';
    if (isJobOver(job.state) || job.state === to) return standingOf(transaction, job);
    // What a job does to end is not undone by asking for a savepoint.
    if (to === 'DOING_SAVEPOINT' && (job.state === 'CANCELING' || job.state === 'FAILING'))
      return standingOf(transaction, job);
    return standingOf(transaction, (await moveJob(transaction, job, to, {}, log)) ?? job);
  });
}

/**
 * Writes down what is to be ended: every node that has an active task group of the job owes its cancel. Asking again
 * changes nothing.
 */
export async function oweCancels(catalog: Catalog, key: JobKey, log: Logger): Promise<void> {
  await catalog.transaction().execute(async (transaction) => {
    const job = await lockJob(transaction, key);
    if (job === undefined) return;
    const rows = await taskGroupsOf(transaction, key);
    const active = rows.filter(({ state }) => state === 'DEPLOYING' || state === 'RUNNING');
    const savepoint = job.state === 'DOING_SAVEPOINT';
    await oweCancelsOf(transaction, active, { execution: job.execution, savepoint });
    for (const row of active) await moveTaskGroup(transaction, row, 'CANCELING', {}, log);
    for (const row of rows) {
      if (row.state === 'CREATED') await moveTaskGroup(transaction, row, 'CANCELED', {}, log);
    }
    if (job.state === 'CANCELING') {
      // A savepoint that was under way is wanted no longer: another request, so another attempt.
      await transaction
        .updateTable('owed_cancel')
        .set({ savepoint: false, attempt: sql<number>`attempt + 1` })
        .where('job_id', '=', key.jobId)
        .where('owner', '=', key.owner)
        .where('savepoint', '=', true)
        .execute();
    }
    await settlePipelines(transaction, key, log);
  });
}

/**
 * Ends a job of which nothing is waited for any more: FAILING starts a new execution from the last checkpoints when there
 * are retries left. Everything else becomes a tombstone, with every pipeline and task group terminal.
 */
export async function settleEnding(
  catalog: Catalog,
  key: JobKey,
  log: Logger,
): Promise<JobStanding | 'GONE'> {
  return catalog.transaction().execute(async (transaction) => {
    const job = await lockJob(transaction, key);
    if (job === undefined) return 'GONE';
    const rows = await settlePipelines(transaction, key, log);
    if (!rows.every(({ state }) => isTaskGroupOver(state))) return standingOf(transaction, job);
    switch (job.state) {
      case 'FAILING': {
        const again = job.restarts < job.spec.env.retryTimes;
        return again ? restartJob(transaction, job, log) : closeJob(transaction, job, 'FAILED', log);
      }
      case 'CANCELING':
        return closeJob(transaction, job, 'CANCELED', log);
      case 'DOING_SAVEPOINT': {
        const failed = rows.find(({ state }) => state === 'FAILED');
        if (failed !== undefined) {
          const reason = `the savepoint failed: ${nameOf(failed)} on ${failed.node_id}: ${failed.error ?? 'failed'}`;
          return closeJob(transaction, job, 'FAILED', log, reason);
        }
        if (rows.every(({ state }) => state === 'FINISHED')) {
          return closeJob(transaction, job, 'FINISHED', log);
        }
        await writeSavepoint(transaction, job);
        return closeJob(transaction, job, 'SAVEPOINT_DONE', log);
      }
      case 'CREATED':
      case 'SCHEDULED':
      case 'RUNNING':
      case 'FINISHED':
      case 'FAILED':
      case 'CANCELED':
      case 'SAVEPOINT_DONE':
        return standingOf(transaction, job);
    }
  });
}

/** A new execution of the whole job, from the last checkpoint of each task group. */
async function restartJob(transaction: CatalogTransaction, job: JobRow, log: Logger): Promise<JobStanding> {
  const key: JobKey = { jobId: job.job_id, owner: job.owner };
  const checkpoints = await lastCheckpoints(transaction, key);
  for (const row of await taskGroupsOf(transaction, key)) {
    const last = checkpoints.find(
      (one) => one.pipeline === row.pipeline && one.task_group === row.task_group,
    );
    const moved = await moveTaskGroup(
      transaction,
      row,
      'CREATED',
      { error: null, rows_in: last?.rows_in ?? 0, rows_out: last?.rows_out ?? 0 },
      log,
    );
    if (!moved) throw new Error(`${nameOf(row)} of job ${job.job_id} is ${row.state}: it cannot start again`);
  }
  await transaction
    .updateTable('task_group')
    .set({ node_id: null, ledger_id: null, attempt: 1 })
    .where('job_id', '=', job.job_id)
    .where('owner', '=', job.owner)
    .execute();
  await dropOlderCheckpoints(transaction, key);
  const execution = await nextEpoch(transaction);
  const moved = await moveJob(transaction, job, 'CREATED', { execution, restarts: job.restarts + 1 }, log);
  await settlePipelines(transaction, key, log);
  return standingOf(transaction, moved ?? job);
}

/** The terminal state, kept as a tombstone until `free_at`. */
async function closeJob(
  transaction: CatalogTransaction,
  job: JobRow,
  to: TerminalJobState,
  log: Logger,
  reason?: string,
): Promise<JobStanding> {
  const moved = await moveJob(transaction, job, to, reason === undefined ? {} : { reason }, log);
  if (moved === undefined) return standingOf(transaction, job);
  await transaction
    .updateTable('job')
    .set({
      ended_at: sql<Date>`now()`,
      free_at: sql<Date>`now() + make_interval(secs => ${job.spec.env.stateCleanupDelayMs / 1000})`,
    })
    .where('job_id', '=', job.job_id)
    .where('owner', '=', job.owner)
    .execute();
  return standingOf(transaction, moved);
}
