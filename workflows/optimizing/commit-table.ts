import { proxyActivities, setCurrentDetails, upsertSearchAttributes } from '@temporalio/workflow';
import type { CommitResult, OptimizingActivities } from '../../activities/optimizing/optimizing.js';
import { type CommitTableInput, commitTableInput } from '../../src/rules/optimizing-input.js';
import { COMMIT } from '../activity-options.js';
import { guarded } from '../failures.js';
import { stewardActor, stewardPhase } from '../search-attributes.js';

const { commitProcess } = proxyActivities<OptimizingActivities>(COMMIT);

/**
 * Commits a process that is COMMITTING as one new snapshot of its table, however often it has to be tried. Started twice,
 * or again after its end, it finds what was done.
 */
export async function commitTable(raw: CommitTableInput): Promise<CommitResult> {
  const input = guarded(commitTableInput, raw);
  const { table, process, actor } = input;
  upsertSearchAttributes([
    { key: stewardActor, value: actor },
    { key: stewardPhase, value: 'COMMITTING' },
  ]);
  setCurrentDetails(
    `Committing process ${process} of table ${table}: what blocks it, its pending activity says`,
  );
  const summary = `commit process ${process} of table ${table}`;
  const result = await commitProcess.executeWithOptions({ summary }, [input]);
  upsertSearchAttributes([{ key: stewardPhase, value: result.outcome }]);
  return result;
}
