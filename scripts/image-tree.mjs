// Where there is no Docker: does the steps of deploy/Dockerfile as plain commands, and checks that what the image would hold
// is enough: node scripts/image-tree.mjs <new directory>. Every program of it is started from a tree that nobody can write,
// as user 1000 when run as root. Its end-to-end tests:
//   STEWARD_IMAGE_TREE=<directory>/steward npx vitest run test/deploy/compose-processes.test.ts
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, cpSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';

const [, , target] = process.argv;
if (target === undefined || existsSync(target)) {
  console.error('usage: node scripts/image-tree.mjs <directory that does not exist yet>');
  process.exit(2);
}
const directory = resolve(target);
/** What .dockerignore lets in; all else is not there for a COPY. */
const context = new Set(
  readFileSync('.dockerignore', 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('!'))
    .map((line) => line.slice(1)),
);

const root = join(directory, 'steward');
const stages = new Map();
let at;
for (const [word, ...rest] of instructions(readFileSync('deploy/Dockerfile', 'utf8'))) {
  if (word === 'FROM') {
    const name = rest[1]?.toUpperCase() === 'AS' ? rest[2] : 'image';
    at = name === 'image' ? root : join(directory, name);
    stages.set(name, at);
    mkdirSync(at, { recursive: true });
  } else if (word === 'COPY') copy(rest);
  else if (word === 'RUN') run(rest.join(' '));
}
execFileSync('chmod', ['-R', 'a+rX,a-w', root]);
chmodSync(directory, 0o755);
check();

function* instructions(text) {
  for (const line of text.replaceAll('\\\n', ' ').split('\n')) {
    if (line.trim() !== '' && !line.startsWith('#')) yield line.trim().split(/\s+/);
  }
}

function copy(words) {
  const from = words[0].startsWith('--from=') ? words.shift().slice('--from='.length) : undefined;
  const to = words.pop();
  for (const source of words) {
    if (from === undefined && !context.has(source))
      throw new Error(`COPY ${source}: .dockerignore leaves it out`);
    const path = from === undefined ? source : join(stages.get(from), source.replace(/^\/steward\//, ''));
    const into = to === './' ? join(at, source.split('/').at(-1)) : join(at, to);
    mkdirSync(dirname(into), { recursive: true });
    cpSync(path, into, { recursive: true, verbatimSymlinks: true });
  }
}

function run(command) {
  if (!command.startsWith('npm ')) return console.log(`left out  ${command.slice(0, 100)}`);
  console.log(`run       ${command}`);
  execFileSync('sh', ['-c', command], { cwd: at, stdio: ['ignore', 'ignore', 'inherit'] });
}

/** A program that lacks a file of its own says so before it misses a server. */
function check() {
  const data = join(directory, 'data');
  mkdirSync(data);
  const asUser = process.getuid?.() === 0 ? { uid: 1000, gid: 1000 } : {};
  if (asUser.uid !== undefined) chownSync(data, asUser.uid, asUser.gid);
  const nowhere = { TEMPORAL_ADDRESS: '127.0.0.1:1', DATABASE_URL: 'postgresql://nobody@127.0.0.1:1/none' };
  const expected = [
    [['bin/steward.js', '--version'], /\d+\.\d+/],
    [['dist/src/health.js', 'node', 'http://127.0.0.1:1'], /ECONNREFUSED|fetch failed/],
    [['dist/src/coordinator/main.js', '--listen=127.0.0.1:0'], /ECONNREFUSED/],
    [['dist/src/worker/main.js'], /[Cc]onnect/],
    [
      [
        'dist/src/node/main.js',
        '--id=node-1',
        `--data=${data}`,
        '--listen=127.0.0.1:0',
        '--coordinator=http://127.0.0.1:1',
      ],
      /"ready"|ready/,
    ],
    [['dist/src/optimizer/main.js', '--help'], /--resource|usage/i],
  ];
  let failed = 0;
  for (const [args, pattern] of expected) {
    const { stdout, stderr } = spawnSync(process.execPath, args, {
      cwd: root,
      encoding: 'utf8',
      timeout: 20_000,
      env: { PATH: process.env.PATH, HOME: data, NODE_ENV: 'production', ...nowhere },
      ...asUser,
    });
    const said = stdout + stderr;
    const ok = pattern.test(said) && !/ERR_MODULE_NOT_FOUND|Cannot find|EROFS|EACCES/.test(said);
    if (!ok) failed += 1;
    console.log(`${ok ? 'ok    ' : 'FAILED'}    ${args.join(' ')}${ok ? '' : `\n${said.slice(0, 2_000)}`}`);
  }
  process.exit(failed === 0 ? 0 : 1);
}
