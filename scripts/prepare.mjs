// What `npm ci` does last: builds, and links the command, as npm links those of dependencies alone. The first `npx steward` in
// a checkout does it as well, since npm then installs the package itself into its cache. What is built may run by then:
// it is built again only when sources are newer.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));

const SOURCES = ['src', 'workflows', 'activities'];
const SETTINGS = [
  'package.json',
  'package-lock.json',
  'tsconfig.json',
  'tsconfig.build.json',
  'scripts/bundle-programs.mjs',
];
/** What the build writes last. */
const BUILT = 'dist/workflow-bundle-encrypting.js';

// A directory changes when something in it is added or removed.
const files = SOURCES.flatMap((directory) => [
  directory,
  ...readdirSync(directory, { recursive: true }).map((name) => join(directory, name)),
]);
if (changedAt(BUILT) < Math.max(...[...files, ...SETTINGS].map(changedAt))) {
  const { status } = spawnSync('npm run build', { shell: true, stdio: 'inherit' });
  if (status !== 0) process.exit(1);
}
mkdirSync('node_modules/.bin', { recursive: true });
rmSync('node_modules/.bin/steward', { force: true });
symlinkSync('../../bin/steward.js', 'node_modules/.bin/steward');

function changedAt(path) {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}
