import { runs, until } from '../lines.js';
import type { Scenario } from '../scenario.js';

export const jobs: Scenario = {
  page: 'docs/jobs.md',
  steps: {
    'npx steward job submit examples/jobs/orders.yaml --wait': { says: /120 rows in, 108 rows out/ },
    'steward job cancel <id> --savepoint': {
      before: ['steward job submit examples/jobs/clicks.yaml', runs('clicks')],
      line: 'steward job cancel clicks --savepoint',
    },
    'steward job submit <file> --from-savepoint': {
      before: [until('steward job show clicks', 'SAVEPOINT_DONE')],
      line: 'steward job submit examples/jobs/clicks.yaml --from-savepoint',
    },
    'steward job show <id>': { line: 'steward job show clicks' },
  },
};
