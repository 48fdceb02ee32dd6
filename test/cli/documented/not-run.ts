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
