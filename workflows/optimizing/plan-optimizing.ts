import { proxyActivities, setCurrentDetails, upsertSearchAttributes } from '@temporalio/workflow';
import type { OptimizingActivities, Planning } from '../../activities/optimizing/optimizing.js';
import { type PlanOptimizingInput, planOptimizingInput } from '../../src/rules/optimizing-input.js';
import { CATALOG_PASS } from '../activity-options.js';
import { guarded } from '../failures.js';
import { stewardActor, stewardPhase } from '../search-attributes.js';

const { planTables } = proxyActivities<OptimizingActivities>(CATALOG_PASS);

/** Starts an optimizing process for each table that is due, one at a time for a table. */
export async function planOptimizing(raw?: Partial<PlanOptimizingInput>): Promise<Planning> {
  const input = guarded(planOptimizingInput, raw);
  upsertSearchAttributes([
    { key: stewardActor, value: input.actor },
    { key: stewardPhase, value: 'PLANNING' },
  ]);
  const summary = input.table === undefined ? 'plan every table that is due' : `plan table ${input.table}`;
  const result = await planTables.executeWithOptions({ summary }, [input]);
  setCurrentDetails(describe(result));
  return result;
}

function describe({ planned, waiting }: Planning): string {
  const rows = [
    ...planned.map(
      ({ table, kind, tasks, files }) => `| ${table} | ${kind}: ${tasks} tasks of ${files} files |`,
    ),
    ...waiting.map(({ table, reason }) => `| ${table} | not planned: ${reason} |`),
  ];
  return rows.length === 0
    ? 'No table needs optimizing.'
    : ['| table | |', '| --- | --- |', ...rows].join('\n');
}
