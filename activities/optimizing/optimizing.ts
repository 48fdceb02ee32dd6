import { activityInfo } from '@temporalio/activity';
import type { ApplicationFailure } from '@temporalio/common';
import type { Catalog } from '../../src/catalog/catalog.js';
import { commitProcess } from '../../src/catalog/optimizing/committing.js';
import { duePlanning, type PlanVerdict, planTable } from '../../src/catalog/optimizing/planning.js';
import { findProcess, findTable, listTables } from '../../src/catalog/optimizing/tables.js';
import { sweepUnreferencedFiles } from '../../src/catalog/optimizing/unreferenced-files.js';
import type { Logger } from '../../src/log.js';
import { messageOf } from '../../src/message-of.js';
import type { Settings } from '../../src/model/settings.js';
import type {
  CommitTableInput,
  PlanOptimizingInput,
  SweepTablesInput,
} from '../../src/rules/optimizing-input.js';
import type { OptimizingKind } from '../../src/rules/words.js';
import { eachOf } from '../each-of.js';
import { heartbeating } from '../heartbeating.js';
import { notReady } from '../not-ready.js';
import { holdWhilePaused } from '../pauses.js';
import { rejected } from '../rejected.js';

export interface OptimizingDependencies {
  readonly catalog: Catalog;
  readonly settings: Pick<Settings, 'targetFileBytes' | 'lockTimeoutMs'>;
  readonly log: Logger;
}

/** How a commit ended. */
export type CommitResult =
  /** The table has the snapshot of the process, made now or before. */
  | { readonly outcome: 'COMMITTED'; readonly snapshotId: number }
  /** An input or an output was gone, now or before: the table stays as it is, and is planned again when it needs it. */
  | { readonly outcome: 'CLOSED'; readonly reason: string };

export interface PlannedProcess {
  readonly table: string;
  readonly processId: number;
  readonly kind: OptimizingKind;
  readonly tasks: number;
  readonly files: number;
}

export interface Planning {
  /** Processes that were started. */
  readonly planned: readonly PlannedProcess[];
  /** Tables that could not be planned now, and why; most are found again by the next run. */
  readonly waiting: readonly { readonly table: string; readonly reason: string }[];
}

export interface TableSweep {
  readonly tables: number;
  /** Files that were removed. */
  readonly files: number;
  /** Tables that could not be swept: found again by the next run. */
  readonly failed: readonly { readonly table: string; readonly error: string }[];
}

/** Tables that one run plans at most; the next one goes on. */
const MAX_PLANNED = 1_000;
const MAX_REPORTED = 100;
const AT_A_TIME = 4;
const PAGE = 500;
const COMMIT_RETRY_MAX_MS = 5_000;
/** PostgreSQL: a lock was not got within `lock_timeout`. */
const LOCK_NOT_AVAILABLE = '55P03';

export type OptimizingActivities = ReturnType<typeof createOptimizingActivities>;

/** The activities of planOptimizing, commitTable and sweepTables. Each may be repeated at any moment. */
export function createOptimizingActivities({ catalog, settings, log }: OptimizingDependencies) {
  return {
    /** Plans one table at once, or every table that is due. */
    planTables: (input: PlanOptimizingInput): Promise<Planning> =>
      heartbeating(async () => {
        await holdWhilePaused(catalog, 'the planning');
        if (input.table !== undefined) return sorted([await planNamed(input.table, input)]);
        const due = await duePlanning(catalog, MAX_PLANNED);
        return sorted(
          await eachOf(due, AT_A_TIME, async (table) => {
            try {
              return { table, verdict: await plan(table, undefined, input.actor) };
            } catch (error) {
              log.warn({ table, cause: messageOf(error) }, 'table not planned; tried again in the next run');
              return { table, reason: messageOf(error) };
            }
          }),
        );
      }),

    /**
     * Makes the snapshot of a process that is COMMITTING. Until it is made, or the process is closed, it fails with the benign
     * `NotReady` that names what blocks (I8), and is asked again.
     */
    commitProcess: ({ table, process }: CommitTableInput): Promise<CommitResult> =>
      heartbeating(async () => {
        const verdict = await commit(table, process);
        switch (verdict.kind) {
          case 'COMMITTED':
            log.info({ table, process, snapshot: verdict.snapshotId }, 'process committed');
            return { outcome: 'COMMITTED', snapshotId: verdict.snapshotId };
          case 'CLOSED':
          case 'FAILED':
            log.warn({ table, process, reason: verdict.reason }, 'process ended without a commit');
            return { outcome: 'CLOSED', reason: verdict.reason };
          case 'NOT_COMMITTING':
            throw rejected(
              'PROCESS_NOT_COMMITTING',
              `process ${process} is not to be committed: table ${table} is ${verdict.status}`,
            );
          case 'UNKNOWN':
            throw rejected('PROCESS_NOT_FOUND', `table ${table} has no process ${process}`);
        }
      }),

    /** Removes what no snapshot lists and no process needs, from one table or from all. */
    sweepFiles: ({ table, gracePeriodMs }: SweepTablesInput): Promise<TableSweep> =>
      heartbeating(async () => {
        let [tables, files] = [0, 0];
        const failed: { table: string; error: string }[] = [];
        const sweep = async (name: string) => {
          tables += 1;
          try {
            const swept = await sweepUnreferencedFiles(catalog, name, gracePeriodMs);
            if (swept === undefined || swept.removed.length === 0) return;
            files += swept.removed.length;
            log.info({ table: name, files: swept.removed.length }, 'unreferenced files removed');
          } catch (error) {
            log.warn(
              { table: name, cause: messageOf(error) },
              'table not swept; tried again in the next run',
            );
            failed.push({ table: name, error: messageOf(error) });
          }
        };
        if (table !== undefined) {
          if ((await findTable(catalog, table)) === undefined) throw noTable(table);
          await sweep(table);
        } else {
          for await (const page of allTables()) await eachOf(page, AT_A_TIME, sweep);
        }
        return { tables, files, failed: failed.slice(0, MAX_REPORTED) };
      }),
  };

  async function commit(table: string, process: number) {
    try {
      const found = await findProcess(catalog, process);
      if (found?.table !== table) return { kind: 'UNKNOWN' as const };
      return await commitProcess(catalog, process, settings);
    } catch (error) {
      const { attempt } = activityInfo();
      const locked = (error as { readonly code?: unknown }).code === LOCK_NOT_AVAILABLE;
      const cause = locked
        ? `another session holds the lock of table ${table} (waited ${settings.lockTimeoutMs} ms)`
        : messageOf(error);
      log.warn({ table, process, attempt, cause }, 'commit not made yet');
      const delayMs = Math.min(100 * 2 ** Math.min(attempt, 10), COMMIT_RETRY_MAX_MS);
      throw notReady(`process ${process} of table ${table} is not committed: BLOCKED: ${cause}`, delayMs);
    }
  }

  /** Whoever names a table wants it optimized, whether there is enough to do or not. */
  async function planNamed(table: string, { kind, actor }: PlanOptimizingInput): Promise<Planned> {
    const verdict = await plan(table, kind, actor);
    if (verdict.kind === 'UNKNOWN_TABLE') throw noTable(table);
    if (verdict.kind !== 'NOTHING_TO_DO' || kind !== undefined) return { table, verdict };
    return { table, verdict: await plan(table, 'FULL', actor) };
  }

  async function plan(table: string, kind: OptimizingKind | undefined, actor: string): Promise<PlanVerdict> {
    const { targetFileBytes } = settings;
    const verdict = await planTable(catalog, table, { actor, kind, targetFileBytes });
    if (verdict.kind === 'PLANNED') {
      const { processId, optimizing, tasks, inputFiles } = verdict;
      log.info({ table, process: processId, kind: optimizing, tasks, files: inputFiles }, 'process planned');
    }
    return verdict;
  }

  async function* allTables(): AsyncIterable<readonly string[]> {
    for (let after = ''; ; ) {
      const page = await listTables(catalog, { after, limit: PAGE });
      const last = page.at(-1);
      if (last === undefined) return;
      yield page.map(({ name }) => name);
      after = last.name;
    }
  }
}

type Planned =
  | { readonly table: string; readonly verdict: PlanVerdict }
  | { readonly table: string; readonly reason: string };

function sorted(results: readonly Planned[]): Planning {
  const planned: PlannedProcess[] = [];
  const waiting: { table: string; reason: string }[] = [];
  for (const result of results) {
    const { table } = result;
    if ('reason' in result) {
      waiting.push(result);
    } else if (result.verdict.kind === 'PLANNED') {
      const { processId, optimizing: kind, tasks, inputFiles: files } = result.verdict;
      planned.push({ table, processId, kind, tasks, files });
    } else {
      waiting.push({ table, reason: reasonOf(result.verdict) });
    }
  }
  return { planned, waiting: waiting.slice(0, MAX_REPORTED) };
}

function reasonOf(verdict: Exclude<PlanVerdict, { kind: 'PLANNED' }>): string {
  switch (verdict.kind) {
    case 'NOTHING_TO_DO':
      return 'there are no two files to merge';
    case 'NO_OPTIMIZER':
      return `group ${verdict.group} has no live optimizer: planned as soon as it has one`;
    case 'BUSY':
      return `it is ${verdict.status}${verdict.processId === undefined ? '' : ` by process ${verdict.processId}`}`;
    case 'UNKNOWN_TABLE':
      return 'it is gone';
  }
}

function noTable(table: string): ApplicationFailure {
  return rejected('TABLE_NOT_FOUND', `table ${table} does not exist`);
}
