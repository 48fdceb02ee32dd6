import { patched, proxyActivities, setCurrentDetails, upsertSearchAttributes } from '@temporalio/workflow';
import type { Detection, FoundStuck } from '../../activities/optimizing/detect-stuck.js';
import type { HealActivities } from '../../activities/optimizing/heal.js';
import type { HealedProcess, UnhealedProcess } from '../../activities/optimizing/heal-stuck.js';
import { type HealStuckCommitsInput, healStuckCommitsInput } from '../../src/rules/optimizing-input.js';
import { HEALED } from '../../src/rules/words.js';
import { CATALOG_PASS } from '../activity-options.js';
import { guarded } from '../failures.js';
import { stewardActor, stewardPhase } from '../search-attributes.js';

const { detectStuck, healStuck } = proxyActivities<HealActivities>(CATALOG_PASS);

/** Detections that one activity heals: a few of its tables may be locked, and each waits for its lock time-out. */
const BATCH = 100;

export interface HealResult extends FoundStuck {
  readonly mode: 'observe' | 'repair';
  readonly healed: readonly HealedProcess[];
  /** Tried again in the next cycle. */
  readonly failed: readonly UnhealedProcess[];
}

/**
 * One cycle: finds the processes that are stuck before their commit, reports them, and in `repair` heals them. The breaker
 * stops the healing when too much is stuck at once, until somebody acknowledges it.
 */
export async function healStuckCommits(raw?: Partial<HealStuckCommitsInput>): Promise<HealResult> {
  const input = guarded(healStuckCommitsInput, raw);
  const { mode, actor } = input;
  upsertSearchAttributes([
    { key: stewardActor, value: actor },
    { key: stewardPhase, value: mode === 'repair' ? 'HEAL_REPAIR' : 'HEAL_OBSERVE' },
  ]);
  const found = await detectStuck.executeWithOptions({ summary: 'find stuck processes' }, [input]);
  setCurrentDetails(describe(found, () => ''));
  const healed: HealedProcess[] = [];
  const failed: UnhealedProcess[] = [];
  if (mode === 'repair' && found.breaker.state !== 'OPEN') {
    for (const batch of batches(found.stuck)) {
      const summary = `heal ${batch.length} stuck ${batch.length === 1 ? 'process' : 'processes'}`;
      const done = await healStuck.executeWithOptions({ summary }, [batch, input]);
      healed.push(...done.healed);
      failed.push(...done.failed);
    }
  }
  const result = { mode, ...found, healed, failed };
  setCurrentDetails(describe(found, outcomes(result)));
  // So that cycles that healed something are found among those that had nothing to do.
  if (healed.some(({ outcome }) => outcome !== 'GONE') && patched('healed-is-a-phase')) {
    upsertSearchAttributes([{ key: stewardPhase, value: HEALED }]);
  }
  return result;
}

function batches(stuck: readonly Detection[]): Detection[][] {
  return Array.from({ length: Math.ceil(stuck.length / BATCH) }, (_, at) =>
    stuck.slice(at * BATCH, (at + 1) * BATCH),
  );
}

const SHOWN = 50;

/** What became of each process, by its id. */
function outcomes({ mode, breaker, healed, failed }: HealResult): (processId: number) => string {
  const known = new Map([
    ...healed.map(({ processId, outcome }) => [processId, outcome] as const),
    ...failed.map(({ processId, cause }) => [processId, `not healed: ${cause}`] as const),
  ]);
  const otherwise = mode === 'observe' || breaker.state === 'OPEN' ? 'left alone' : '';
  return (processId) => known.get(processId) ?? otherwise;
}

function describe(
  { stuck, total, anomalies, breaker }: FoundStuck,
  outcomeOf: (processId: number) => string,
): string {
  const lines = [
    ...(breaker.state === 'OPEN'
      ? [`**The breaker is open: nothing is healed until \`steward heal ack\`.** ${breaker.reason}`, '']
      : []),
    ...(total === 0
      ? ['Nothing is stuck.']
      : ['| table | process | shape | status | outcome |', '| --- | --- | --- | --- | --- |']),
    ...stuck
      .slice(0, SHOWN)
      .map(
        ({ table, processId, shape, status }) =>
          `| ${table} | ${processId} | ${shape} | ${status} | ${outcomeOf(processId)} |`,
      ),
    ...(total > SHOWN ? ['', `and ${total - SHOWN} more`] : []),
    ...anomalies.map(({ name, kind }) => `\nNot healed, look at it: ${kind} ${name}`),
  ];
  return lines.join('\n');
}
