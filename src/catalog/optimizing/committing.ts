import type { TableStatus } from '../../rules/optimizing-states.js';
import type { Catalog, CatalogTransaction } from '../catalog.js';
import type { DataFile } from '../schema.js';
import { lockProcess } from './settling.js';
import { type CommitStep, commitSnapshot } from './snapshots.js';
import { endProcess } from './states.js';

export type CommitVerdict =
  /** The table has the snapshot of this process, made now or before. */
  | { readonly kind: 'COMMITTED'; readonly snapshotId: number }
  /** The process ended otherwise, now or before; the table is planned again when it needs it. */
  | { readonly kind: 'CLOSED' | 'FAILED'; readonly reason: string }
  /** Not all tasks are SUCCESS, or `beginCommitting` did not happen: nothing was changed. */
  | { readonly kind: 'NOT_COMMITTING'; readonly status: TableStatus }
  | { readonly kind: 'UNKNOWN' };

/**
 * What commitTable does: makes the snapshot in which the outputs of a process stand for its inputs, rebased on whatever is
 * current, ends the process and sets the table IDLE, in one transaction. Asked again, after a crash at any point or
 * while another one does it, it finds what was made. A conflict, when an input is not a file of the table any more, and an
 * output that is gone close the process: the table stays as it is.
 */
export async function commitProcess(
  catalog: Catalog,
  processId: number,
  options: { readonly targetFileBytes: number; readonly at?: (step: CommitStep) => Promise<void> | void },
): Promise<CommitVerdict> {
  const before = await ended(catalog, processId);
  if (before !== undefined) return before;
  const { tableId, inputs, outputs } = await taskFiles(catalog, processId);

  const verdict = await commitSnapshot<CommitVerdict | { readonly conflict: string }>(catalog, tableId, {
    author: { process: processId },
    targetFileBytes: options.targetFileBytes,
    ...(options.at && { at: options.at }),
    change(current, table) {
      const there = new Set(current?.files.map(({ path }) => path));
      const gone = inputs.filter(({ path }) => !there.has(path));
      if (gone.length > 0)
        return { instead: { conflict: `${named(gone)} is no file of the table any more` } };
      const merged = new Set(inputs.map(({ path }) => path));
      const kept = current!.files.filter(({ path }) => !merged.has(path));
      return {
        change: { columns: table.columns ?? [], files: [...kept, ...outputs], added: outputs },
      };
    },
    async within(transaction, table) {
      const verdict = await ended(transaction, processId);
      if (verdict !== undefined) return verdict;
      if (table.status !== 'COMMITTING') return { kind: 'NOT_COMMITTING', status: table.status };
      if (table.snapshot_id === 0) return { conflict: 'the table has no snapshot' };
      await finish(transaction, processId, 'SUCCESS', null);
      return undefined;
    },
  });
  if (verdict.kind === 'COMMITTED') return verdict;
  if (verdict.kind === 'FILES_GONE') {
    return close(catalog, processId, `output ${verdict.paths[0]} is gone from the disk`);
  }
  const { instead } = verdict;
  if (!('conflict' in instead)) return instead;
  return close(catalog, processId, `conflict: ${instead.conflict}`);
}

/** Ends a process without a commit: CLOSED with the reason, the table IDLE. */
async function close(catalog: Catalog, processId: number, reason: string): Promise<CommitVerdict> {
  return catalog.transaction().execute(async (transaction) => {
    const verdict = await ended(transaction, processId);
    if (verdict !== undefined && verdict.kind !== 'NOT_COMMITTING') return verdict;
    return (await finish(transaction, processId, 'CLOSED', reason)) ?? { kind: 'CLOSED', reason };
  });
}

/** Undefined: the process is RUNNING and its table COMMITTING. */
async function ended(
  catalog: Catalog | CatalogTransaction,
  processId: number,
): Promise<CommitVerdict | undefined> {
  const process = await catalog
    .selectFrom('optimizing_process as process')
    .innerJoin('data_table', 'data_table.table_id', 'process.table_id')
    .select(['process.state', 'process.reason', 'data_table.status'])
    .where('process.process_id', '=', processId)
    .executeTakeFirst();
  if (process === undefined) return { kind: 'UNKNOWN' };
  switch (process.state) {
    case 'RUNNING':
      return process.status === 'COMMITTING' ? undefined : { kind: 'NOT_COMMITTING', status: process.status };
    case 'SUCCESS': {
      const { snapshot_id } = await catalog
        .selectFrom('snapshot')
        .select('snapshot_id')
        .where('process_id', '=', processId)
        .executeTakeFirstOrThrow();
      return { kind: 'COMMITTED', snapshotId: snapshot_id };
    }
    case 'CLOSED':
    case 'FAILED':
      return { kind: process.state, reason: process.reason ?? '' };
  }
}

/** With table and process locked, in that order. Answers what it ended as when another one ended it first. */
async function finish(
  transaction: CatalogTransaction,
  processId: number,
  to: 'SUCCESS' | 'CLOSED',
  reason: string | null,
): Promise<CommitVerdict | undefined> {
  const locked = await lockProcess(transaction, processId);
  if (locked === undefined) return { kind: 'UNKNOWN' };
  const { table, process } = locked;
  if (process.state !== 'RUNNING') return ended(transaction, processId);
  await endProcess(transaction, table, process, to, reason);
  return undefined;
}

async function taskFiles(catalog: Catalog, processId: number) {
  const { table_id } = await catalog
    .selectFrom('optimizing_process')
    .select('table_id')
    .where('process_id', '=', processId)
    .executeTakeFirstOrThrow();
  const tasks = await catalog
    .selectFrom('optimizing_task')
    .select(['inputs', 'outputs'])
    .where('process_id', '=', processId)
    .orderBy('task_no')
    .execute();
  const inputs: readonly DataFile[] = tasks.flatMap((task) => task.inputs);
  const outputs: readonly DataFile[] = tasks.flatMap((task) => task.outputs ?? []);
  return { tableId: table_id, inputs, outputs };
}

function named(files: readonly DataFile[]): string {
  const rest = files.length > 1 ? ` (and ${files.length - 1} more)` : '';
  return `input ${files[0]!.path}${rest}`;
}
