import type { Scenario } from '../scenario.js';

export const traces: Scenario = {
  page: 'docs/traces.md',
  steps: {
    'npm start': { line: 'npx steward local start --detach', exit: 3 },
    'npx steward database delete sales': {
      before: ['npx steward database create sales || true'],
    },
  },
};
