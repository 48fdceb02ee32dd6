import type { HealStuckCommitsInput } from '../../src/rules/optimizing-input.js';
import { heartbeating } from '../heartbeating.js';
import { holdWhilePaused } from '../pauses.js';
import { type Detection, type DetectionDependencies, detectStuck, type FoundStuck } from './detect-stuck.js';
import { type Healed, type HealingDependencies, healStuck } from './heal-stuck.js';

export type HealDependencies = DetectionDependencies & HealingDependencies;

export type HealActivities = ReturnType<typeof createHealActivities>;

/** The activities of healStuckCommits. Each may be repeated, and run beside itself. */
export function createHealActivities(dependencies: HealDependencies) {
  return {
    /** See {@link detectStuck}. */
    detectStuck: (input: HealStuckCommitsInput): Promise<FoundStuck> =>
      heartbeating(() => detectStuck(dependencies, input)),

    /** See {@link healStuck}; held while it is paused. */
    healStuck: (stuck: readonly Detection[], input: HealStuckCommitsInput): Promise<Healed> =>
      heartbeating(async () => {
        await holdWhilePaused(dependencies.catalog, 'the healing');
        return healStuck(dependencies, stuck, input);
      }),
  };
}
