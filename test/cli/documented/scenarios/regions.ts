import { MADE, until } from '../lines.js';
import type { Scenario } from '../scenario.js';

export const regions: Scenario = {
  page: 'docs/regions.md',
  steps: {
    'steward region-group forget-replica <id> --node node-2': {
      before: ['steward node kill node-2', until('steward node list', 'node-2 *not alive')],
      line: 'steward region-group forget-replica 5 --node node-2 --yes',
    },
    'steward setup --after-restore': { elsewhere: 'docs/production.md' },
    'steward operation show <id>': { line: MADE },
    'steward region-group recreate <id>': {
      before: ['steward node resume node-2', until('steward node list', 'node-2 *alive')],
      line: 'steward region-group recreate 5',
    },
    'steward operation cancel <id>': {
      before: [
        'steward node fault node-2 --effect create-region --delay 60s',
        'steward node fault node-3 --effect create-region --delay 60s',
        'steward region-group create demo --kind data --groups 1 --request slow --no-wait',
      ],
      line: 'steward operation cancel database/demo/create/slow',
    },
    'steward sweep drain-legacy-queue tasks.ndjson': {
      before: [
        `echo '{"id":"t1","type":"DELETE","database":"demo","groupId":99,"nodeId":"node-1"}' > tasks.ndjson`,
      ],
      says: /1 entries|1 entry/,
    },
  },
  after: ['steward node fault node-2 --clear', 'steward node fault node-3 --clear'],
};
