import { defineConfig } from 'vitest/config';
import tests from './vitest.config.js';

/** `npm run bench`: measured, not part of `npm test`. One after the other, so that nothing measured disturbs another. */
export default defineConfig({
  test: { ...tests.test, include: ['bench/**/*.bench.ts'], fileParallelism: false, maxWorkers: 1 },
});
