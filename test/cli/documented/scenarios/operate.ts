import { MADE, until } from '../lines.js';
import type { Scenario } from '../scenario.js';

export const operate: Scenario = {
  page: 'docs/operate.md',
  steps: {
    'npx steward local start': { exit: 3, says: /is running already/ },
    'npx steward local start --detach': { exit: 3, says: /is running already/ },
    'npx steward operation show <id>': { line: MADE },
    'npx steward operation show database/trial/delete': { says: /phase +REMOVING/ },
    'npx steward operation pause --all --reason "network works until 4 a.m."': {
      says: /is paused by ann@laptop/,
    },
    'npx steward operation pause <id> --reason <text>': {
      before: [
        until('npx steward node list', 'node-2 *alive'),
        'npx steward database create paused --data-groups 1',
        'npx steward node fault node-1 --effect delete-region --delay 1h',
        'npx steward database delete paused --no-wait',
      ],
      line: 'npx steward operation pause database/paused/delete --reason "disk swap"',
    },
    'npx steward operation resume <id>': {
      line: 'npx steward operation resume database/paused/delete; npx steward node fault node-1 --clear',
    },
    'npx steward heal ack': { exit: 2, says: /not open/ },
    'npx steward node limit <node> --creations 1': { line: 'npx steward node limit node-1 --creations 1' },
  },
  after: ['npx steward node limit node-1 --none'],
};
