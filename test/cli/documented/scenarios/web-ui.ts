import { SERVERS } from '../lines.js';
import type { Scenario } from '../scenario.js';

export const webUi: Scenario = {
  page: 'docs/web-ui.md',
  steps: {
    [`temporal workflow list --address 127.0.0.1:7233 --query 'WorkflowType = "healStuckCommits"'`]: {
      before: SERVERS,
      line: `temporal workflow list --address $TEMPORAL_ADDRESS --query 'WorkflowType = "healStuckCommits"'`,
      says: /healStuckCommits/,
    },
  },
};
