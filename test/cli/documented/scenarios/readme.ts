import type { Scenario } from '../scenario.js';

export const readme: Scenario = {
  page: 'README.md',
  steps: {
    'npm ci && npm start': {
      line: 'npx steward local start --tour --detach',
      says: /What happened, system by system/,
    },
    'npx steward local start --detach': { exit: 3, says: /is running already/ },
    'npx steward local stop': { elsewhere: 'docs/worker-contract.md' },
    'npx steward database create sales --data-groups 2 --schema-groups 1': {
      says: / 7 +sales +(?:DATA|SCHEMA) +RUNNING +3\/3/,
    },
    'npx steward operation show region-group/7/remove': { says: /BLOCKED|RUNNING/ },
    'npx steward region-group remove 7': { exit: 3, says: /it runs already: removeRegionGroups/ },
    'npx steward database delete sales --timeout 3s': { exit: 4, says: /the operation goes on/ },
    'npx steward node fault node-1 --clear': { says: /no faults/ },
  },
};
