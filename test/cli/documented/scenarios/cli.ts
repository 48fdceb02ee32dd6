import { field, runs, SERVERS, serves } from '../lines.js';
import type { Scenario } from '../scenario.js';

const node7101 =
  'node dist/src/node/main.js --id node-1 --data kit --listen 127.0.0.1:7101 --allow-faults >kit.log 2>&1 & echo $! > node.pid';

export const cli: Scenario = {
  page: 'docs/cli.md',
  steps: {
    'steward local start --detach': { exit: 3 },
    'steward local stop': { elsewhere: 'docs/worker-contract.md' },
    'steward database show sales': { before: ['steward database create sales'] },
    'steward region-group forget-replica 5 --node node-2': { exit: 3, says: /alive|lives/ },
    'steward node kill node-2 --restart-after 10s': { before: ['steward node resume node-2'] },
    'steward node pause node-2': { before: ['steward node resume node-2'] },
    'steward operation cancel database/sales/create/monday': {
      exit: 2,
      says: /has ended/,
    },
    'steward operation pause region-group/3/remove --reason "node-2 gets a new disk"': {
      exit: 2,
      says: /is over|has ended|COMPLETED|not run/,
    },
    'steward operation resume region-group/3/remove': { exit: 2, says: /is not paused/ },
    'steward optimizer-group create nightly --optimizers 2 --threads 2 --auto-restart': {
      exit: 2,
      says: /exists/,
    },
    'steward optimizer-group restart-now default default-1f2e3d4c-1-1': {
      line: `steward optimizer-group restart-now default ${field('steward optimizer-group show default', '.group.resources[0].resourceId')}`,
      exit: 3,
      says: /lives/,
    },
    'steward optimizer-group forget-resource flink taskmanager-7': {
      exit: 2,
      says: /has no resource taskmanager-7/,
    },
    'steward table ingest orders monday.csv tuesday.ndjson wednesday.parquet': {
      before: [
        `printf 'id,name,amount\\n1,ann,5\\n2,bob,7\\n' > monday.csv`,
        `echo '{"id":3,"name":"cid","amount":9}' > tuesday.ndjson`,
        'cp $(ls .steward/data/warehouse/*/late/data/*.parquet | head -1) wednesday.parquet',
      ],
    },
    'steward heal ack': { exit: 2 },
    'steward job cancel clicks --savepoint': { before: [runs('clicks')] },
    'steward setup': { before: SERVERS },
    'steward conformance --target http://127.0.0.1:7101': {
      before: [node7101, serves(7101)],
      line: 'steward conformance --target http://127.0.0.1:7101 --only identity',
    },
    "steward conformance --target http://127.0.0.1:7101 --restart-command './restart-node.sh'": {
      line: "steward conformance --target http://127.0.0.1:7101 --only identity --restart-command './restart-node.sh'",
    },
    'steward completion bash > ~/.local/share/bash-completion/completions/steward': {
      before: ['mkdir -p ~/.local/share/bash-completion/completions ~/.zfunc ~/.config/fish/completions'],
    },
  },
  after: ['steward node limit --all --none', 'steward node fault node-1 --clear'],
};
