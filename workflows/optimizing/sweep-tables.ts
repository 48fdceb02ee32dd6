import { proxyActivities, setCurrentDetails, upsertSearchAttributes } from '@temporalio/workflow';
import type { OptimizingActivities, TableSweep } from '../../activities/optimizing/optimizing.js';
import { type SweepTablesInput, sweepTablesInput } from '../../src/rules/optimizing-input.js';
import { CATALOG_PASS } from '../activity-options.js';
import { guarded } from '../failures.js';
import { stewardActor, stewardPhase } from '../search-attributes.js';

const { sweepFiles } = proxyActivities<OptimizingActivities>(CATALOG_PASS);

/** Removes files that no snapshot lists and no running process needs, once they are older than the grace. */
export async function sweepTables(raw?: Partial<SweepTablesInput>): Promise<TableSweep> {
  const input = guarded(sweepTablesInput, raw);
  upsertSearchAttributes([
    { key: stewardActor, value: input.actor },
    { key: stewardPhase, value: 'SWEEP_TABLES' },
  ]);
  const summary = `sweep ${input.table === undefined ? 'every table' : `table ${input.table}`}`;
  const swept = await sweepFiles.executeWithOptions({ summary }, [input]);
  setCurrentDetails(`Removed ${swept.files} files of ${swept.tables} tables.`);
  return swept;
}
