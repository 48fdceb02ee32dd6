import { sql } from 'kysely';
import type { EngineNode } from '../../engines/nodes.js';
import type { Logger } from '../../log.js';
import { retryDelayMs } from '../../rules/pace.js';
import { type Catalog, type CatalogTransaction, nextEpoch } from '../catalog.js';
import { isAlive } from '../nodes.js';
import {
  type JobKey,
  lockJob,
  moveTaskGroup,
  settlePipelines,
  type TaskGroupRow,
  taskGroupsOf,
} from './rows.js';

/** A cancel that a node has not confirmed yet, as it is asked for. */
export interface OwedCancel extends JobKey {
  readonly pipeline: number;
  readonly taskGroup: number;
  readonly execution: number;
  readonly epoch: number;
  readonly attempt: number;
  readonly savepoint: boolean;
  /** The job does not wait for it any more. */
  readonly givenUp: boolean;
  /** 0: due now. */
  readonly waitMs: number;
  readonly ageMs: number;
  readonly lastError: string | null;
  readonly node: EngineNode;
  readonly nodeAlive: boolean;
  readonly otherLedger: boolean;
}

/**
 * Writes down that the nodes of these task groups must be told to end them; a row goes when its node has said that it is over.
 * The cancels have an epoch of their own, above the execution and below the next one: a deployment of the execution that is
 * still under way somewhere is refused once the node has heard the cancel (I9).
 */
export async function oweCancelsOf(
  transaction: CatalogTransaction,
  rows: readonly TaskGroupRow[],
  { execution, savepoint }: { readonly execution: number; readonly savepoint: boolean },
): Promise<void> {
  if (rows.length === 0) return;
  const epoch = await nextEpoch(transaction);
  await transaction
    .insertInto('owed_cancel')
    .values(
      rows.map((row) => ({
        node_id: row.node_id!,
        ledger_id: row.ledger_id!,
        job_id: row.job_id,
        owner: row.owner,
        pipeline: row.pipeline,
        task_group: row.task_group,
        execution,
        epoch,
        savepoint,
      })),
    )
    .onConflict((conflict) =>
      conflict.columns(['node_id', 'job_id', 'pipeline', 'task_group', 'execution']).doNothing(),
    )
    .execute();
}

/** Everything owed: of one job id, whoever its owner was, or of all jobs. */
export async function owedCancels(
  catalog: Catalog,
  which: { readonly jobId?: string; readonly limit?: number },
  nodeTimeoutMs: number,
): Promise<OwedCancel[]> {
  let query = catalog
    .selectFrom('owed_cancel')
    .innerJoin('node', 'node.node_id', 'owed_cancel.node_id')
    .select([
      'owed_cancel.job_id',
      'owed_cancel.owner',
      'owed_cancel.pipeline',
      'owed_cancel.task_group',
      'owed_cancel.execution',
      'owed_cancel.epoch',
      'owed_cancel.attempt',
      'owed_cancel.savepoint',
      'owed_cancel.given_up',
      'owed_cancel.last_error',
      sql<number>`greatest(0, coalesce(extract(epoch FROM not_before - clock_timestamp()) * 1000, 0))::bigint`.as(
        'wait_ms',
      ),
      sql<number>`(extract(epoch FROM clock_timestamp() - since) * 1000)::bigint`.as('age_ms'),
      'node.node_id',
      'node.ledger_id',
      'node.address',
      isAlive(nodeTimeoutMs).as('alive'),
      sql<boolean>`node.ledger_id <> owed_cancel.ledger_id`.as('other_ledger'),
    ])
    .orderBy('owed_cancel.since')
    .limit(which.limit ?? 10_000);
  if (which.jobId !== undefined) query = query.where('owed_cancel.job_id', '=', which.jobId);
  return (await query.execute()).map((row) => ({
    jobId: row.job_id,
    owner: row.owner,
    pipeline: row.pipeline,
    taskGroup: row.task_group,
    execution: row.execution,
    epoch: row.epoch,
    attempt: row.attempt,
    savepoint: row.savepoint,
    givenUp: row.given_up,
    waitMs: row.wait_ms,
    ageMs: Math.max(0, row.age_ms),
    lastError: row.last_error,
    node: { nodeId: row.node_id, ledgerId: row.ledger_id, address: row.address },
    nodeAlive: row.alive,
    otherLedger: row.other_ledger,
  }));
}

/** What became of an owed cancel. */
export type CancelNews =
  /** Nothing of it is active on the node any more, or the node's disk is gone. */
  | { readonly kind: 'OVER'; readonly error?: string }
  /** The node said FAIL to a plain cancel: another attempt later (I3). */
  | { readonly kind: 'AGAIN'; readonly error: string }
  /** The node is lost, or took too long: the job does not wait for it, the debt stays. */
  | { readonly kind: 'GIVEN_UP'; readonly error: string };

/** Records what became of an owed cancel, in the debt and in the task group of that execution. */
export async function recordCancel(
  catalog: Catalog,
  owed: OwedCancel,
  news: CancelNews,
  log: Logger,
): Promise<void> {
  await catalog.transaction().execute(async (transaction) => {
    // The job first, as everybody else does.
    const job = await lockJob(transaction, owed);
    const about = {
      job: owed.jobId,
      execution: owed.execution,
      pipeline: owed.pipeline,
      taskGroup: owed.taskGroup,
      node: owed.node.nodeId,
    };
    const debt = (): { node_id: string; attempt: number } => ({
      node_id: owed.node.nodeId,
      attempt: owed.attempt,
    });
    if (news.kind === 'OVER') {
      await whereDebt(transaction.deleteFrom('owed_cancel'), owed, debt()).execute();
      log.info({ ...about, ...(news.error && { error: news.error }) }, 'cancel settled');
    } else {
      // A savepoint that was given up becomes a plain cancel: another request, so another attempt.
      const raised = news.kind === 'AGAIN' || owed.savepoint;
      const delayMs = news.kind === 'AGAIN' ? retryDelayMs(owed.attempt) : 0;
      await whereDebt(
        transaction.updateTable('owed_cancel').set({
          last_error: news.error,
          ...(news.kind === 'GIVEN_UP' && { given_up: true }),
          ...(raised && {
            savepoint: false,
            attempt: owed.attempt + 1,
            not_before: sql<Date>`now() + make_interval(secs => ${delayMs / 1000})`,
          }),
        }),
        owed,
        debt(),
      ).execute();
      log.warn(
        { ...about, error: news.error },
        news.kind === 'AGAIN' ? 'cancel failed' : 'cancel stays owed',
      );
    }
    if (job === undefined || job.execution !== owed.execution || news.kind === 'AGAIN') return;
    const row = (await taskGroupsOf(transaction, owed)).find(
      (one) => one.pipeline === owed.pipeline && one.task_group === owed.taskGroup,
    );
    if (row?.state !== 'CANCELING') return;
    const failed = news.error !== undefined && owed.savepoint;
    await moveTaskGroup(
      transaction,
      row,
      failed ? 'FAILED' : 'CANCELED',
      news.error === undefined ? {} : { error: news.error },
      log,
    );
    await settlePipelines(transaction, owed, log);
  });
}

interface DebtFilter<Q> {
  where(column: string, operator: '=', value: string | number): Q;
}

function whereDebt<Q>(
  query: Q,
  owed: OwedCancel,
  { node_id, attempt }: { node_id: string; attempt: number },
): Q {
  const conditions: [string, string | number][] = [
    ['node_id', node_id],
    ['job_id', owed.jobId],
    ['pipeline', owed.pipeline],
    ['task_group', owed.taskGroup],
    ['execution', owed.execution],
    ['attempt', attempt],
  ];
  return conditions.reduce(
    (filtered, [column, value]) => (filtered as unknown as DebtFilter<Q>).where(column, '=', value),
    query,
  );
}
