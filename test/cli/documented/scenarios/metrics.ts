import { MADE } from '../lines.js';
import type { Scenario } from '../scenario.js';

export const metrics: Scenario = {
  page: 'docs/metrics.md',
  steps: {
    'steward optimizer-group show <group>': { line: 'steward optimizer-group show default' },
    'steward operation show <id>': { line: MADE },
    [`grep -h '"workflowId":"database/orders/delete"' .steward/logs/*.log`]: {
      line: `grep -h '"workflowId":"database/trial/delete"' .steward/logs/*.log`,
    },
  },
};
