import { proxyActivities, upsertSearchAttributes } from '@temporalio/workflow';
import type { EnsureKeepersActivities } from '../../activities/ensure-keepers.js';
import { ensureKeepersInput } from '../../src/rules/keeper-input.js';
import { DURABLE_STEP } from '../activity-options.js';
import { guarded } from '../failures.js';
import { stewardActor } from '../search-attributes.js';

const activities = proxyActivities<EnsureKeepersActivities>(DURABLE_STEP);

/** A keeper that was terminated by hand, or never started, is found and started (I8). Answers the groups that had none. */
export async function ensureKeepers(raw?: unknown): Promise<{ readonly started: readonly string[] }> {
  const input = guarded(ensureKeepersInput, raw);
  upsertSearchAttributes([{ key: stewardActor, value: input.actor }]);
  return { started: await activities.ensureKeepers() };
}
