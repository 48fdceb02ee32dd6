import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'vitest';
import { projectRoot } from '../../src/project.js';

/** What bash offers at the end of a line, the last word of which is being typed, after the script was loaded. */
export async function offeredByBash(
  script: string,
  words: readonly string[],
  env: Readonly<Record<string, string | undefined>> = {},
): Promise<string[]> {
  const line = ['steward', ...words].map((word) => `'${word}'`).join(' ');
  const ask = [
    `steward() { '${process.execPath}' '${join(projectRoot, 'bin/steward.js')}' "$@"; }`,
    script,
    `COMP_WORDS=(${line})`,
    `COMP_CWORD=${words.length}`,
    '_steward',
    `printf '%s\\n' "\${COMPREPLY[@]}"`,
  ].join('\n');
  const { stdout, stderr } = await promisify(execFile)('bash', ['--norc', '-c', ask], {
    env: {
      PATH: process.env['PATH'],
      STEWARD_HOME: '/nonexistent/steward',
      TEMPORAL_CONFIG_FILE: '/nonexistent/temporal.toml',
      ...env,
    },
  });
  expect(stderr).toBe('');
  return stdout.split('\n').filter(Boolean);
}
