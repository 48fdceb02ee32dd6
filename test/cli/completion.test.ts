import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { completionScript, SHELLS } from '../../src/cli/completion.js';
import { stewardProgram } from '../../src/cli/run.js';
import { steward } from './steward-command.js';
import { hasTerminal, onTerminal } from './terminal.js';

/** What bash offers at the end of this line, the last word of which is being typed. */
function offered(script: string, words: readonly string[]): string[] {
  const line = ['steward', ...words].map((word) => `'${word}'`).join(' ');
  const ask = `${script}\nCOMP_WORDS=(${line})\nCOMP_CWORD=${words.length}\n_steward\nprintf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout, stderr, status } = spawnSync('bash', ['--norc', '-c', ask], { encoding: 'utf8' });
  expect(stderr).toBe('');
  expect(status).toBe(0);
  return stdout.split('\n').filter(Boolean);
}

test('bash completes commands, verbs and options, also behind options and arguments', async () => {
  const { stdout: script, code } = await steward(['completion', 'bash']);
  expect(code).toBe(0);
  expect(offered(script, ['reg'])).toEqual(['region-group']);
  expect(offered(script, ['node', ''])).toEqual(
    expect.arrayContaining(['list', 'show', 'limit', 'fault', 'kill', 'pause', 'resume']),
  );
  expect(offered(script, ['node', 'limit', 'node-1', '--del'])).toEqual(['--deletions']);
  expect(offered(script, ['region-group', 'remove', '3', '--json', '--dr'])).toEqual(['--dry-run']);
  expect(offered(script, ['operation', 'pause', '--a'])).toEqual(['--actor', '--all']);
  expect(offered(script, ['frob', 'x'])).toEqual([]);
});

test('every command and every option stands in the script of every shell', () => {
  const program = stewardProgram();
  for (const shell of SHELLS) {
    const script = completionScript(program, shell);
    for (const noun of program.commands) {
      for (const verb of [noun, ...noun.commands]) {
        expect(script, shell).toContain(verb.name());
        for (const { long } of verb.options) {
          expect(script).toContain(shell === 'fish' ? `-l ${long!.slice(2)}` : long!);
        }
      }
    }
  }
});

test('an unknown shell is bad usage', async () => {
  const { code, stderr } = await steward(['completion', 'csh']);
  expect(stderr).toMatch(/bash, zsh, fish/);
  expect(code).toBe(2);
});

const ESCAPE = '\u001b[';

test('where there is no terminal there are no colours, also where CI is set', async () => {
  for (const line of ['local status', 'node list', '--help']) {
    const { stdout, stderr } = await steward(line.split(' '), { env: { CI: 'true' } });
    expect(stdout + stderr, line).not.toContain(ESCAPE);
  }
});

test.skipIf(!hasTerminal)('on a terminal there are colours, unless NO_COLOR is set', async () => {
  expect((await onTerminal(['local', 'status'])).shown).toContain(ESCAPE);
  expect((await onTerminal(['local', 'status'], { env: { NO_COLOR: '1', CI: 'true' } })).shown).not.toContain(
    ESCAPE,
  );
});
