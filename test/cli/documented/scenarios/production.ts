import { SERVERS } from '../lines.js';
import type { Scenario } from '../scenario.js';

export const production: Scenario = {
  page: 'docs/production.md',
  steps: {
    'steward setup': { before: SERVERS, says: /are as they should be/ },
    'steward setup --after-restore': { says: /epochs: lifted|epochs: not behind/ },
    'steward operation resume job/<id>': { line: 'steward operation resume job/clicks' },
    'du -sh <data>/*': { line: 'du -sh .steward/data/*' },
  },
  after: ['steward schedule resume steward/sweep-tables'],
};
