import { proxyActivities, setCurrentDetails, upsertSearchAttributes } from '@temporalio/workflow';
import type { EnsureKeepersActivities } from '../../activities/optimizers/ensure-keepers.js';
import { ensureKeepersInput } from '../../src/rules/keeper-input.js';
import { DURABLE_STEP } from '../activity-options.js';
import { guarded } from '../failures.js';
import { stewardActor, stewardPhase } from '../search-attributes.js';

const activities = proxyActivities<EnsureKeepersActivities>(DURABLE_STEP);

/** A keeper that was terminated by hand, or never started, is found and started (I8). Answers the groups that had none. */
export async function ensureKeepers(raw?: unknown): Promise<{ readonly started: readonly string[] }> {
  const input = guarded(ensureKeepersInput, raw);
  upsertSearchAttributes([
    { key: stewardActor, value: input.actor },
    { key: stewardPhase, value: 'ENSURE_KEEPERS' },
  ]);
  const summary = 'start the keepers that are missing';
  const started = await activities.ensureKeepers.executeWithOptions({ summary }, []);
  setCurrentDetails(
    started.length === 0 ? 'Every group has its keeper.' : `Started the keepers of ${started.join(', ')}.`,
  );
  return { started };
}
