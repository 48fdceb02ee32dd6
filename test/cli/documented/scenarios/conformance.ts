import { until } from '../lines.js';
import type { Scenario } from '../scenario.js';

export const conformance: Scenario = {
  page: 'docs/conformance.md',
  files: ['restart-node.sh'],
  steps: {
    'npx steward conformance --target http://127.0.0.1:7101': {
      before: ['./restart-node.sh', until('cat node.log', 'listening|serving|ready')],
      line: 'npx steward conformance --target http://127.0.0.1:7101 --only identity submit',
    },
    'npx steward conformance --target http://127.0.0.1:7101 --restart-command ./restart-node.sh': {
      before: [until('cat node.log', 'listening|serving|ready')],
      line: 'npx steward conformance --target http://127.0.0.1:7101 --only restart/same-node --restart-command ./restart-node.sh',
    },
  },
};
