import { chmod, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { findTemporalBinary, NoTemporalError, TEMPORAL_VERSION } from '../../src/local/temporal-binary.js';
import { temporaryDirectory } from '../support/guard.js';

let directory: ReturnType<typeof temporaryDirectory>;
let bin: string;
let env: Record<string, string>;
let lines: string[];

const print = (line: string) => void lines.push(line);
const noDownload = () => Promise.reject(new Error('no network'));
const cached = () => join(env['STEWARD_CACHE'] ?? '', `temporal-${TEMPORAL_VERSION}`, 'temporal');

beforeEach(async () => {
  directory = temporaryDirectory('finder');
  bin = join(directory.path, 'bin');
  lines = [];
  // Only the shell and its tools besides: no temporal, no go of this machine.
  env = { PATH: `${bin}:/usr/bin:/bin`, STEWARD_CACHE: join(directory.path, 'cache') };
  await mkdir(bin);
});
afterEach(() => directory.remove());

async function script(file: string, body: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, `#!/bin/sh\n${body}\n`);
  await chmod(file, 0o755);
}

const says = (version: string) => `echo 'temporal version ${version}'`;
const BUILT = '0.0.0-DEV (Server 1.29.1, UI 2.42.1)';

/** A go whose `install` notes that it ran, takes a moment, and leaves a program in GOBIN. */
const GO = `
[ "$1" = version ] && exit 0
echo "$@" >> "$STEWARD_CACHE/builds"
sleep 0.3
printf '#!/bin/sh\\n${says(BUILT).replaceAll("'", "'\\''")}\\n' > "$GOBIN/temporal"`;

test('a good program on PATH comes first, also one that was built from source', async () => {
  await script(cached(), says('1.5.1'));
  for (const version of ['1.5.0 (Server 1.29.0)', '2.0.0 (Server 1.40.0)', BUILT]) {
    await script(join(bin, 'temporal'), says(version));
    expect(await findTemporalBinary({ env, print, download: noDownload })).toEqual({
      path: join(bin, 'temporal'),
      origin: 'PATH',
    });
  }
  expect(lines).toEqual([]);
});

test('a broken or an old program on PATH is skipped with a line, for the next one on PATH or the cache', async () => {
  const old = join(directory.path, 'old');
  env['PATH'] = `${bin}:${old}:${env['PATH']}`;
  await script(join(bin, 'temporal'), 'echo "cannot execute" >&2; exit 126');
  await script(join(old, 'temporal'), says('1.4.2 (Server 1.28.0)'));
  await script(cached(), says('1.5.1'));
  expect(await findTemporalBinary({ env, print, download: noDownload })).toEqual({
    path: cached(),
    origin: 'cache',
  });
  expect(lines).toEqual([
    expect.stringContaining(`skipping ${join(bin, 'temporal')}: does not run: cannot execute`),
    expect.stringContaining(`skipping ${join(old, 'temporal')}: is older than 1.5`),
  ]);
});

test('the download comes before the build, and fills the cache', async () => {
  await script(join(bin, 'go'), 'exit 1');
  const download = (into: string) => script(join(into, 'temporal-sdk-typescript-1.24.0'), says('1.5.1'));
  expect(await findTemporalBinary({ env, print, download })).toEqual({ path: cached(), origin: 'download' });
  expect(await findTemporalBinary({ env, print, download: noDownload })).toMatchObject({ origin: 'cache' });
});

test('the build says what it does and for how long, and leaves nothing but the program', async () => {
  await script(join(bin, 'go'), GO);
  const found = await findTemporalBinary({ env, print, download: noDownload, progressEveryMs: 50 });
  expect(found).toEqual({ path: cached(), origin: 'go' });
  expect(lines[0]).toContain('building the Temporal server');
  expect(lines.at(-1)).toMatch(/: \d+ s$/);
  expect((await readdir(dirname(cached()))).sort()).toEqual(['lock', 'temporal']);
  expect(await readFile(join(env['STEWARD_CACHE'] ?? '', 'builds'), 'utf8')).toBe(
    `install github.com/temporalio/cli/cmd/temporal@v${TEMPORAL_VERSION}\n`,
  );
});

test('several that ask at once build once', async () => {
  await script(join(bin, 'go'), GO);
  const found = await Promise.all(
    Array.from({ length: 4 }, () => findTemporalBinary({ env, print, download: noDownload })),
  );
  expect(found.map(({ origin }) => origin).sort()).toEqual(['cache', 'cache', 'cache', 'go']);
  expect(await readFile(join(env['STEWARD_CACHE'] ?? '', 'builds'), 'utf8')).toMatch(/^.*\n$/);
  expect(lines.filter((line) => line.includes('waiting for it'))).toHaveLength(3);
});

test('a program in the cache that does not run is replaced, and what a killed build left is removed', async () => {
  await script(cached(), 'exit 1');
  await mkdir(join(dirname(cached()), 'getting-abandoned'));
  await script(join(bin, 'go'), GO);
  expect(await findTemporalBinary({ env, print, download: noDownload })).toMatchObject({ origin: 'go' });
  expect((await readdir(dirname(cached()))).sort()).toEqual(['lock', 'temporal']);
});

test('when nothing works, one error lists what was tried and what to do', async () => {
  await script(join(bin, 'temporal'), 'exit 1');
  await script(join(bin, 'go'), '[ "$1" = version ] && exit 0; echo "go: module lookup failed" >&2; exit 1');
  const failure = await findTemporalBinary({ env, print, download: noDownload }).catch(
    (error: unknown) => error,
  );
  expect(failure).toBeInstanceOf(NoTemporalError);
  const { message } = failure as Error;
  for (const part of [
    'PATH:',
    'cache:',
    'download: no network',
    'go: module lookup failed',
    'TEMPORAL_ADDRESS',
  ]) {
    expect(message).toContain(part);
  }
});

test('whoever gives up ends the build', async () => {
  await script(join(bin, 'go'), '[ "$1" = version ] && exit 0; exec sleep 60');
  const givingUp = new AbortController();
  const finding = findTemporalBinary({
    env,
    print: () => givingUp.abort(),
    download: noDownload,
    signal: givingUp.signal,
  });
  await expect(finding).rejects.toThrow('abort');
});
