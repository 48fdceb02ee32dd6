import { spawnSync } from 'node:child_process';
import { expect, onTestFinished, test } from 'vitest';
import { ARGUMENTS, OPTIONS } from '../../src/cli/candidates.js';
import { completionScript, SHELLS } from '../../src/cli/completion.js';
import { stewardProgram } from '../../src/cli/run.js';
import { temporaryDirectory } from '../support/guard.js';
import { offeredByBash } from './completing.js';
import { steward } from './steward-command.js';
import { hasTerminal, onTerminal } from './terminal.js';

test('bash completes commands, verbs and options, also behind options and arguments', async () => {
  const { stdout: script, code } = await steward(['completion', 'bash']);
  expect(code).toBe(0);
  const offered = (...words: readonly string[]) => offeredByBash(script, words);
  expect(await offered('reg')).toEqual(['region-group']);
  expect(await offered('node', '')).toEqual(
    expect.arrayContaining(['list', 'show', 'limit', 'fault', 'kill', 'pause', 'resume']),
  );
  expect(await offered('node', 'limit', 'node-1', '--del')).toEqual(['--deletions']);
  expect(await offered('region-group', 'remove', '3', '--json', '--dr')).toEqual(['--dry-run']);
  expect(await offered('operation', 'pause', '--a')).toEqual(['--actor', '--all']);
  expect(await offered('frob', 'x')).toEqual([]);
  // A value of one's own has no candidates, and neither has an id when no Steward answers.
  expect(await offered('operation', 'pause', '--actor', '')).toEqual([]);
  expect(await offered('node', 'show', 'node-')).toEqual([]);
});

const isInstalled = (shell: string) => spawnSync(shell, ['-c', ':']).status === 0;

test.skipIf(!isInstalled('fish'))(
  'fish completes commands, verbs and options, also behind options and arguments',
  async () => {
    // It writes to where it lives.
    const home = temporaryDirectory('fish');
    onTestFinished(() => home.remove());
    const script = completionScript(stewardProgram(), 'fish');
    const offered = (line: string) => {
      const asked = spawnSync('fish', ['--no-config', '-c', `${script}\ncomplete -C '${line}'`], {
        encoding: 'utf8',
        env: { PATH: process.env['PATH'], HOME: home.path },
      });
      expect(asked.stderr).toBe('');
      return asked.stdout.split('\n').flatMap((offer) => offer.split('\t')[0] || []);
    };
    expect(offered('steward reg')).toEqual(['region-group']);
    expect(offered('steward node limit node-1 --del')).toEqual(['--deletions']);
    expect(offered('steward region-group remove 3 --json --dr')).toEqual(['--dry-run']);
    expect(offered('steward operation pause --a')).toEqual(['--actor', '--all']);
  },
);

test.skipIf(!isInstalled('zsh'))('zsh reads its script', () => {
  const script = completionScript(stewardProgram(), 'zsh');
  const read = spawnSync('zsh', ['--no-exec'], { input: script, encoding: 'utf8' });
  expect(read).toMatchObject({ status: 0, stderr: '' });
});

test('every command and every option stands in the script of every shell', () => {
  const program = stewardProgram();
  for (const shell of SHELLS) {
    const script = completionScript(program, shell);
    for (const noun of program.commands) {
      for (const verb of [noun, ...noun.commands]) {
        expect(script, shell).toContain(verb.name());
        for (const { long } of verb.options.filter(({ hidden }) => !hidden)) {
          expect(script).toContain(shell === 'fish' ? `-l ${long!.slice(2)}` : long!);
        }
      }
    }
  }
});

test('every argument that names what there is has its candidates, and so has every such option', () => {
  const program = stewardProgram();
  const commands = program.commands.flatMap((noun) => noun.commands.map((verb) => ({ noun, verb })));
  const naming = commands.flatMap(({ noun, verb }) => {
    const [first] = verb.registeredArguments;
    const isNew = verb.name() === 'create' && noun.name() !== 'region-group';
    if (first === undefined || first.name() === 'file' || isNew) return [];
    return [`${noun.name()} ${verb.name()}`];
  });
  expect(Object.keys(ARGUMENTS).sort()).toEqual(naming.sort());
  const flags = commands.flatMap(({ verb }) => verb.options.map(({ long }) => long));
  expect(flags).toEqual(expect.arrayContaining(Object.keys(OPTIONS)));
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
