import { spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { projectRoot } from '../../src/project.js';

/** Whether a command can be run on a pseudo-terminal here: `script` of util-linux. */
export const hasTerminal = spawnSync('script', ['--version']).status === 0;

export interface OnTerminal {
  code: number | null;
  /** All that the terminal showed, with its control sequences. */
  shown: string;
}

/** The `steward` command on a pseudo-terminal; `input` is typed as soon as what it shows contains `typeAfter`. */
export async function onTerminal(
  args: readonly string[],
  {
    columns = 80,
    env = {},
    input = '',
    typeAfter = '',
  }: {
    columns?: number;
    env?: Readonly<Record<string, string | undefined>>;
    input?: string;
    typeAfter?: string;
  } = {},
): Promise<OnTerminal> {
  const command = [process.execPath, join(projectRoot, 'bin/steward.js'), ...args].map(quoted).join(' ');
  const child = spawn('script', ['-qec', `stty cols ${columns} rows 24; ${command}`, '/dev/null'], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: {
      PATH: process.env['PATH'],
      HOME: process.env['HOME'],
      TERM: 'xterm-256color',
      SHELL: '/bin/sh',
      STEWARD_HOME: '/nonexistent/steward',
      TEMPORAL_CONFIG_FILE: '/nonexistent/temporal.toml',
      STEWARD_ACTOR: 'tester',
      ...env,
    },
  });
  let seen = '';
  let typed = input === '';
  child.stdout.on('data', (chunk: Buffer) => {
    seen += chunk.toString();
    if (typed || !seen.includes(typeAfter)) return;
    typed = true;
    child.stdin.write(input);
  });
  const code = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  const [exit, shown] = await Promise.all([code, text(child.stdout)]);
  return { code: exit, shown };
}

/** What steers a terminal: colours, movements, screens. */
const SEQUENCES = new RegExp(`${String.fromCharCode(27)}\\[[0-9;?]*[A-Za-z]`, 'g');

/** Without colours, and lines as a file has them. */
export function plain(shown: string): string {
  return shown.replaceAll(SEQUENCES, '').replaceAll('\r\n', '\n');
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
