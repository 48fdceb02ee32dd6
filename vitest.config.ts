import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Files that take more than a minute. They begin first, so that none of them runs alone at the end. */
const LONG = [
  'cli/documented-commands',
  'optimizers/keeper-kills',
  'jobs/failures',
  'cli/doctor',
  'upgrade/rolling-restart',
  'optimizers/keeper-restarts',
  'cli/node-process',
  'jobs/history-budget',
  'cli/local',
  'optimizing/heal-interleavings',
  'jobs/node-crash',
  'jobs/node-redeploys',
  'deploy/restore',
].map((name) => `/test/${name}.test.ts`);

class LongOnesFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => {
      const place = LONG.findIndex((long) => moduleId.endsWith(long));
      return place < 0 ? LONG.length : place;
    };
    return (await super.sort(files)).sort((one, other) => rank(one) - rank(other));
  }
}

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 3,
    testTimeout: 120_000,
    hookTimeout: 120_000,
    globalSetup: ['test/support/global-setup.ts'],
    sequence: { sequencer: LongOnesFirst },
  },
});
