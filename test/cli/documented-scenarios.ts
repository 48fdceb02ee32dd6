/** What a page's reader has before a line, and what the line does then. */
export interface Step {
  /** Lines that make what the documented one is about. */
  readonly before?: readonly string[];
  /** Instead of the documented line: with real ids where it has placeholders. */
  readonly line?: string;
  /** Not run here but on this page, which has the same line. */
  readonly elsewhere?: string;
  /** 0 by default. */
  readonly exit?: number;
  /** What it says, among other things. */
  readonly says?: RegExp;
}

export interface Scenario {
  readonly page: string;
  /** By documented line, in the order of the page; what is not named runs as it stands, and ends with 0. */
  readonly steps?: Readonly<Record<string, Step>>;
  /** Scripts that the page shows, in its order, by the names that it gives them. */
  readonly files?: readonly string[];
  /** What ends what the page leaves. */
  readonly after?: readonly string[];
}

/** Lines that are not run here, each with its reason, by how they begin. */
export const NOT_RUN: readonly (readonly [begin: string, reason: string])[] = [
  ['npm ci && npm test', 'is what runs this test'],
  ['npm ci', 'CI runs it on a fresh clone, before the tests'],
  ['npm run check', 'CI runs it beside the tests'],
  ['npm run bench', 'takes minutes; nothing but its numbers comes of it'],
  ['npm run generate', 'npm run check compares what it makes with what is there'],
  ['npm run docs:cli', 'test/cli/documentation.test.ts compares what it makes with what is there'],
  ['steward worker ', 'needs workers of two builds: test/upgrade/worker-builds.test.ts has them'],
  ['STEWARD_PAYLOAD_KEYS_FILE=', 'needs certificates: test/temporal/codec-server.test.ts runs one'],
  ['promtool', 'test/deploy/monitoring.test.ts runs it where it is installed'],
  ['docker run', 'needs Docker; what is traced is tested without Jaeger'],
  ['docker compose', 'needs Docker; test/deploy runs the processes of the compose file without it'],
  ['kubectl', 'needs a cluster; test/deploy checks the manifests'],
  ['export STEWARD_', 'is about the stack of docker-compose.yml'],
  [
    'STEWARD_CONTAINERS=',
    'a worker beside that of the stack: test/optimizers/own-container.test.ts runs one',
  ],
];

/** Of a line that only looks, the first one in the run is enough. */
export const READS =
  /^(?:npx )?steward (?:doctor|top --once|completion \w+.*|(?:node|region-group|database|job|table|optimizer-group|operation|schedule|heal) (?:list|status)\b.*|[\w-]+ show \S+|sweep run|local status)(?: --json)?$/;

/** Resolves `$1` in the JSON document of the command. */
const field = (command: string, path: string) =>
  `$(${command} --json | node -p 'JSON.parse(fs.readFileSync(0, "utf8"))${path}')`;
const until = (command: string, says: string) =>
  `for i in $(seq 100); do ${command} | grep -Eq '${says}' && break; sleep 0.3; done; [ $i -lt 100 ]`;
/** What is not a command of the CLI asks the stack's own servers. */
const SERVERS = [
  `export TEMPORAL_ADDRESS=${field('steward local status', '.temporal')}`,
  `export DATABASE_URL=$(node -p 'JSON.parse(fs.readFileSync(".steward/run/stack.json", "utf8")).addresses.databaseUrl')`,
];
/** Until something listens there. */
const serves = (port: number) =>
  `for i in $(seq 300); do curl -s http://127.0.0.1:${port} >/dev/null; [ $? -ne 7 ] && break; sleep 0.2; done`;
const node7101 =
  'node dist/src/node/main.js --id node-1 --data kit --listen 127.0.0.1:7101 --allow-faults >kit.log 2>&1 & echo $! > node.pid';
const MADE = 'npx steward operation show database/demo/create/initial-data';
const runs = (job: string) => until(`steward job list`, `${job} .* RUNNING`);

/** In this order, on one stack: the first page starts it, the last one stops it. */
export const SCENARIOS: readonly Scenario[] = [
  {
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
  },
  {
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
  },
  {
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
  },
  {
    page: 'docs/optimizing.md',
    steps: {
      'steward heal run --table <name>': {
        before: ['steward node fault node-1 --clear'],
        line: 'steward heal run --table late',
      },
      'steward table show <name>': { line: 'steward table show late' },
    },
  },
  {
    page: 'docs/optimizers.md',
    steps: {
      'npx steward optimizer-group show <name>': { line: 'npx steward optimizer-group show nightly' },
      'npx steward optimizer-group resume <name>': { line: 'npx steward optimizer-group resume nightly' },
    },
  },
  {
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
  },
  {
    page: 'docs/metrics.md',
    steps: {
      'steward optimizer-group show <group>': { line: 'steward optimizer-group show default' },
      'steward operation show <id>': { line: MADE },
      [`grep -h '"workflowId":"database/orders/delete"' .steward/logs/*.log`]: {
        line: `grep -h '"workflowId":"database/trial/delete"' .steward/logs/*.log`,
      },
    },
  },
  {
    page: 'docs/web-ui.md',
    steps: {
      [`temporal workflow list --address 127.0.0.1:7233 --query 'WorkflowType = "healStuckCommits"'`]: {
        before: SERVERS,
        line: `temporal workflow list --address $TEMPORAL_ADDRESS --query 'WorkflowType = "healStuckCommits"'`,
        says: /healStuckCommits/,
      },
    },
  },
  {
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
  },
  { page: 'docs/security.md' },
  {
    page: 'docs/traces.md',
    steps: {
      'npm start': { line: 'npx steward local start --detach', exit: 3 },
      'npx steward database delete sales': {
        before: ['npx steward database create sales || true'],
      },
    },
  },
  {
    page: 'docs/production.md',
    steps: {
      'steward setup': { before: SERVERS, says: /are as they should be/ },
      'steward setup --after-restore': { says: /epochs: lifted|epochs: not behind/ },
      'steward operation resume job/<id>': { line: 'steward operation resume job/clicks' },
      'du -sh <data>/*': { line: 'du -sh .steward/data/*' },
    },
    after: ['steward schedule resume steward/sweep-tables'],
  },
  {
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
  },
  { page: 'docs/decisions.md' },
  { page: 'docs/design.md' },
  {
    page: 'docs/worker-contract.md',
    steps: {
      "rpc NodeService/GetNodeInfo '{}'": { before: [serves(7070)], says: /"nodeId": ?"node-1"/ },
      'rpc OperationService/Submit "{$NODE,\\"operations\\":[$CREATE]}"': {
        says: /PROCESSING|SUCCESS|STALE_EPOCH/,
      },
      'rpc InventoryService/ListRegions "{$NODE}"': { says: /STATE_PRESENT/ },
      'rpc OperationService/Submit "{$NODE,\\"operations\\":[$DELETE]}"': { says: /PROCESSING|SUCCESS/ },
      'rpc OperationService/Get "{$NODE,\\"operationIds\\":[\\"delete-region/$CATALOG/42/node-1@2#2\\"]}"': {
        says: /TASK_NOT_EXIST/,
      },
      'rpc InventoryService/ListEpochs "{$NODE}"': { says: /"epoch": ?"2"/ },
      [`rpc OperationService/Get '{"node":{"nodeId":"node-1","ledgerId":"another"}}'`]: {
        says: /failed_precondition/,
      },
      'npx steward local start --detach': { exit: 3 },
      'npx steward local stop': { says: /stopped/ },
      'npx steward conformance --target http://127.0.0.1:7070': {
        line: 'npx steward conformance --target http://127.0.0.1:7070 --only identity submit',
      },
    },
  },
];
