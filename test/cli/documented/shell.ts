import { spawn } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, delimiter, join } from 'node:path';
import { projectRoot } from '../../../src/project.js';

export interface Ran {
  readonly code: number;
  /** What it wrote on stdout and stderr, in order. */
  readonly output: string;
}

/** A shell in which a reader types what a page says: what one line sets, the next one has. */
export interface DocumentedShell {
  run(line: string): Promise<Ran>;
  /** Ends it, and what it started in the background. */
  close(): Promise<void>;
}

/** What a reader has in the checkout, without the right to write into ours; and programs on the PATH. */
export function makeCheckout(directory: string, programs: readonly string[]): void {
  for (const copied of ['examples', 'deploy']) {
    cpSync(join(projectRoot, copied), join(directory, copied), { recursive: true });
  }
  for (const linked of ['dist', 'docs']) symlinkSync(join(projectRoot, linked), join(directory, linked));
  const bin = join(directory, 'bin');
  mkdirSync(bin);
  const steward = `exec '${process.execPath}' '${join(projectRoot, 'bin/steward.js')}' "$@"`;
  // As npx does it, without the half second that it takes.
  program(join(bin, 'npx'), `[ "$1" = steward ] || exit 127\nshift\n${steward}`);
  program(join(bin, 'steward'), steward);
  for (const file of programs) symlinkSync(file, join(bin, basename(file)));
}

function program(file: string, body: string): void {
  writeFileSync(file, `#!/bin/sh\n${body}\n`);
  chmodSync(file, 0o755);
}

/** One shell in a directory of {@link makeCheckout}. */
export function openShell(
  checkout: string,
  env: Readonly<Record<string, string | undefined>>,
): DocumentedShell {
  const shell = spawn('bash', ['--norc', '--noprofile'], {
    cwd: checkout,
    // A group of its own: what a page starts in the background ends with its shell.
    detached: true,
    stdio: ['pipe', 'pipe', 'inherit'],
    env: {
      ...env,
      PATH: [join(checkout, 'bin'), process.env['PATH']].join(delimiter),
      HOME: checkout,
      TEMPORAL_CONFIG_FILE: '/nonexistent/temporal.toml',
      STEWARD_ACTOR: 'ann@laptop',
    },
  });
  let output = '';
  let told: (ran: Ran) => void = () => {};
  shell.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    output += chunk;
    const end = /\n<<ended (\d+)>>\n/.exec(output);
    if (end === null) return;
    const ran = { code: Number(end[1]), output: output.slice(0, end.index) };
    output = '';
    told(ran);
  });
  const closed = new Promise<void>((resolve) => shell.once('close', () => resolve()));
  return {
    run: (line) =>
      new Promise((resolve) => {
        told = resolve;
        // Evaluated, so that a line that is no shell at all fails like any other.
        shell.stdin.write(`eval ${quoted(line)} 2>&1 </dev/null; printf '\\n<<ended %s>>\\n' $?\n`);
      }),
    async close() {
      process.kill(-shell.pid!, 'SIGKILL');
      await closed;
    },
  };
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
