import type { Scenario } from '../scenario.js';

export const optimizing: Scenario = {
  page: 'docs/optimizing.md',
  steps: {
    'steward heal run --table <name>': {
      before: ['steward node fault node-1 --clear'],
      line: 'steward heal run --table late',
    },
    'steward table show <name>': { line: 'steward table show late' },
  },
};
