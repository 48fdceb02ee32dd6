import type { Scenario } from '../scenario.js';

export const optimizers: Scenario = {
  page: 'docs/optimizers.md',
  steps: {
    'npx steward optimizer-group show <name>': { line: 'npx steward optimizer-group show nightly' },
    'npx steward optimizer-group resume <name>': { line: 'npx steward optimizer-group resume nightly' },
  },
};
