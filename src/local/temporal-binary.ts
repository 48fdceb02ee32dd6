import { execFile, spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { access, chmod, mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { projectRoot } from '../project.js';
import { waitForLock } from './lock.js';

const run = promisify(execFile);

/** The newest version that `go install` can build (TEMPORAL.md). */
export const TEMPORAL_VERSION = '1.5.1';
const OLDEST_CLI = [1, 5];
/** What the CLI of that version embeds: a CLI built from source tells no version of its own. */
const OLDEST_SERVER = [1, 29];

export interface FindOptions {
  env?: NodeJS.ProcessEnv;
  /** Told what is skipped and what takes long. */
  print?: (line: string) => void;
  /** Puts a `temporal` program into a directory, or rejects; the SDK's download by default. */
  download?: (directory: string, signal: AbortSignal) => Promise<void>;
  /** How often a long build says that it still goes on. */
  progressEveryMs?: number;
  /** Gives up what takes long. */
  signal?: AbortSignal;
}

export interface TemporalBinary {
  path: string;
  origin: 'PATH' | 'cache' | 'download' | 'go';
}

/** No server can be had; the message lists what was tried and what to do. */
export class NoTemporalError extends Error {
  override readonly name = 'NoTemporalError';

  constructor(tried: readonly string[]) {
    super(
      [
        'There is no Temporal server to be had on this machine. Tried:',
        ...tried.map((line) => `  ${line}`),
        'Do one of these: set TEMPORAL_ADDRESS to a server of yours; put the temporal CLI (1.5 or newer,',
        'https://temporal.io/setup/install-temporal-cli) on PATH; or install Go 1.25 or newer, with a way to its module',
        'proxy, and repeat.',
      ].join('\n'),
    );
  }
}

/**
 * The program that holds the Temporal dev server: on PATH, else in the cache (`$STEWARD_CACHE`, or ~/.cache/steward),
 * else by the SDK's download, else built with Go; the last two fill the cache. Any number of processes may ask at once:
 * one of them fills it, the others wait.
 *
 * @throws NoTemporalError
 */
export async function findTemporalBinary(options: FindOptions = {}): Promise<TemporalBinary> {
  const env = options.env ?? process.env;
  const print = options.print ?? (() => {});
  const tried: string[] = [];

  const onPath = await candidatesOnPath(env['PATH'] ?? '');
  for (const path of onPath) {
    const fault = await faultOf(path);
    if (fault === undefined) return { path, origin: 'PATH' };
    print(`skipping ${path}: ${fault}`);
    tried.push(`PATH: ${path}: ${fault}`);
  }
  if (onPath.length === 0) tried.push('PATH: no temporal on it');

  const directory = join(cacheDirectory(env), `temporal-${TEMPORAL_VERSION}`);
  const cached = join(directory, 'temporal');
  if ((await cacheFault(cached)) === undefined) return { path: cached, origin: 'cache' };

  await mkdir(directory, { recursive: true });
  const lock = await waitForLock(join(directory, 'lock'), {
    onWait: ({ pid }) => print(`process ${pid} is getting the Temporal server already: waiting for it`),
    signal: options.signal,
  });
  try {
    // Whoever held the lock before may have filled the cache.
    const fault = await cacheFault(cached);
    if (fault === undefined) return { path: cached, origin: 'cache' };
    if (fault !== ABSENT) print(`replacing ${cached}: ${fault}`);
    tried.push(`cache: ${cached}: ${fault}`);
    return { path: cached, origin: await fillCache(cached, { env, print, ...options }, tried) };
  } finally {
    await lock.release();
  }
}

/** Gets the program by the first way that works, and moves it into the cache when it is known to run. */
async function fillCache(
  cached: string,
  options: FindOptions & { env: NodeJS.ProcessEnv; print: (line: string) => void },
  tried: string[],
): Promise<'download' | 'go'> {
  const cache = dirname(cached);
  for (const name of await readdir(cache)) {
    if (name.startsWith('getting-')) await rm(join(cache, name), { recursive: true, force: true });
  }
  const signal = options.signal ?? new AbortController().signal;
  const ways = {
    download: (directory: string) => (options.download ?? downloadBySdk)(directory, signal),
    go: (directory: string) => buildWithGo(directory, options, signal),
  };
  for (const origin of ['download', 'go'] as const) {
    const directory = await mkdtemp(join(cache, 'getting-'));
    try {
      await ways[origin](directory);
      const path = await programIn(directory);
      const fault = await faultOf(path);
      if (fault !== undefined) throw new Error(fault);
      await rename(path, cached);
      return origin;
    } catch (error) {
      signal.throwIfAborted();
      tried.push(`${origin}: ${lastLine(error)}`);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  }
  throw new NoTemporalError(tried);
}

/** `$STEWARD_CACHE`, else `$XDG_CACHE_HOME/steward`, else ~/.cache/steward. */
export function cacheDirectory(env: NodeJS.ProcessEnv = process.env): string {
  return env['STEWARD_CACHE'] || join(env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'steward');
}

async function candidatesOnPath(path: string): Promise<string[]> {
  const found: string[] = [];
  for (const directory of new Set(path.split(delimiter).filter((entry) => entry !== ''))) {
    const file = join(directory, 'temporal');
    if (await isExecutable(file)) found.push(file);
  }
  return found;
}

async function isExecutable(file: string): Promise<boolean> {
  try {
    await access(file, constants.X_OK);
    return (await stat(file)).isFile();
  } catch {
    return false;
  }
}

const ABSENT = 'not there yet';

async function cacheFault(file: string): Promise<string | undefined> {
  return (await isExecutable(file)) ? await faultOf(file) : ABSENT;
}

/** What is wrong with a program; `undefined` when it is a temporal of a version that will do. */
async function faultOf(file: string): Promise<string | undefined> {
  let output: string;
  try {
    output = (await run(file, ['--version'], { timeout: 15_000 })).stdout.trim();
  } catch (error) {
    return `does not run: ${lastLine(error)}`;
  }
  const cli = /version v?(\d+)\.(\d+)/.exec(output);
  const server = /Server v?(\d+)\.(\d+)/.exec(output);
  if (cli !== null && atLeast(cli, OLDEST_CLI)) return undefined;
  // `go install` leaves the CLI's own version at 0.0.0-DEV.
  if (/version 0\.0\.0/.test(output) && server !== null && atLeast(server, OLDEST_SERVER)) return undefined;
  return `is older than ${OLDEST_CLI.join('.')}: ${output.split('\n')[0] ?? ''}`;
}

function atLeast(match: RegExpExecArray, [major = 0, minor = 0]: readonly number[]): boolean {
  const [found, minorFound] = [Number(match[1]), Number(match[2])];
  return found > major || (found === major && minorFound >= minor);
}

async function programIn(directory: string): Promise<string> {
  const [name, ...others] = await readdir(directory);
  if (name === undefined || others.length > 0)
    throw new Error(`left ${others.length + (name ? 1 : 0)} files and not one`);
  const file = join(directory, name);
  await chmod(file, 0o755);
  return file;
}

/** In a process of its own, so that the SDK's native runtime does not stay in ours. */
async function downloadBySdk(directory: string, signal: AbortSignal): Promise<void> {
  const script = `
    import { TestWorkflowEnvironment } from '@temporalio/testing';
    const [downloadDir, version] = process.argv.slice(1);
    const executable = { type: 'cached-download', downloadDir, version };
    await (await TestWorkflowEnvironment.createLocal({ server: { executable } })).teardown();`;
  await run(process.execPath, ['--input-type=module', '-e', script, directory, `v${TEMPORAL_VERSION}`], {
    cwd: projectRoot,
    timeout: 180_000,
    signal,
  });
}

async function buildWithGo(
  directory: string,
  options: FindOptions & { env: NodeJS.ProcessEnv; print: (line: string) => void },
  signal: AbortSignal,
): Promise<void> {
  const { env, print, progressEveryMs = 10_000 } = options;
  try {
    await run('go', ['version'], { env });
  } catch (error) {
    throw new Error((error as NodeJS.ErrnoException).code === 'ENOENT' ? 'no go on PATH' : lastLine(error), {
      cause: error,
    });
  }
  const start = performance.now();
  const building = `building the Temporal server ${TEMPORAL_VERSION} with Go, once for this machine (2 to 4 minutes)`;
  print(building);
  const timer = setInterval(
    () => print(`${building}: ${Math.round((performance.now() - start) / 1000)} s`),
    progressEveryMs,
  );
  try {
    await new Promise<void>((resolve, reject) => {
      const child = spawn('go', ['install', `github.com/temporalio/cli/cmd/temporal@v${TEMPORAL_VERSION}`], {
        // GOFLAGS and GOOS of the user's own project are not meant for this.
        env: { ...env, GOBIN: directory, GOFLAGS: '', GOOS: '', GOARCH: '', GOWORK: 'off' },
        cwd: directory,
        stdio: ['ignore', 'ignore', 'pipe'],
        signal,
      });
      let said = '';
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        said = (said + text).slice(-4_000);
      });
      child.on('error', reject);
      child.on('close', (code, signal) => {
        if (code === 0) resolve();
        else
          reject(
            new Error(
              `go install ${signal === null ? `ended with code ${code}` : `was killed by ${signal}`}: ${said}`,
            ),
          );
      });
    });
  } finally {
    clearInterval(timer);
  }
}

/** What an error says, in one line; of a child process its last words. */
function lastLine(error: unknown): string {
  const { stderr, message } = error as Error & { stderr?: string };
  const lines = (stderr?.trim() || message).trim().split('\n');
  const telling = lines.findLast((line) => /error|fail|cannot|not found|timeout/i.test(line));
  return (telling ?? lines.at(-1) ?? 'failed').trim();
}
