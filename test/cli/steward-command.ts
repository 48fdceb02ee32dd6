import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach } from 'vitest';
import { projectRoot } from '../../src/project.js';

export interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
  /** What `--json` printed: stdout has to be one document. */
  document: () => unknown;
}

export interface RunOptions {
  env?: Readonly<Record<string, string | undefined>>;
  nodeFlags?: readonly string[];
}

const running = new Set<ChildProcess>();

afterEach(() => {
  for (const child of running) child.kill('SIGKILL');
});

/** The `steward` command as a process, with nothing of this machine's own Steward or Temporal configuration. */
export function startCommand(
  args: readonly string[],
  { env = {}, nodeFlags = [] }: RunOptions = {},
): { child: ChildProcess; ended: Promise<Ended> } {
  const child = spawn(process.execPath, [...nodeFlags, join(projectRoot, 'bin/steward.js'), ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: process.env['PATH'],
      HOME: process.env['HOME'],
      STEWARD_HOME: '/nonexistent/steward',
      TEMPORAL_CONFIG_FILE: '/nonexistent/temporal.toml',
      STEWARD_ACTOR: 'tester',
      ...env,
    },
  });
  running.add(child);
  const code = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  const ended = Promise.all([code, text(child.stdout), text(child.stderr)]).then(([exit, stdout, stderr]) => {
    running.delete(child);
    return { code: exit, stdout, stderr, document: () => JSON.parse(stdout) as unknown };
  });
  return { child, ended };
}

/** Runs it to its end. */
export async function steward(args: readonly string[], options?: RunOptions): Promise<Ended> {
  return startCommand(args, options).ended;
}
