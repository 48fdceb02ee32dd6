import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { expect, test } from 'vitest';
import { cliReference, commandPaths, documentNames } from '../../src/cli/reference.js';
import { stewardProgram } from '../../src/cli/run.js';
import { projectRoot } from '../../src/project.js';
import { commandLines, PAGES, readPage } from './documented/pages.js';

const COMMANDS = new Set(commandPaths(stewardProgram()));
test('docs/cli.md is what the program says of itself', () => {
  const program = stewardProgram();
  const documents = documentNames(readPage('src/cli/documents.ts'), commandPaths(program));
  const reference = cliReference(program, documents);
  expect(readPage('docs/cli.md') === reference, 'docs/cli.md is stale: run npm run docs:cli').toBe(true);
});

test('every command that prints JSON has its document described, and every example of help is a command', () => {
  const program = stewardProgram();
  const documents = documentNames(readPage('src/cli/documents.ts'), commandPaths(program));
  const printing = leaves(program).filter(([, command]) =>
    command.options.some(({ long }) => long === '--json'),
  );
  expect(printing.length).toBeGreaterThan(40);
  expect(
    printing.map(([path]) => path).filter((path) => !documents.has(path) && !ELSEWHERE.includes(path)),
  ).toEqual([]);
  const reference = cliReference(program, documents);
  const examples = [...reference.matchAll(/^\$ (steward .*)$/gm)].map(([, line]) => line!);
  expect(examples.length).toBeGreaterThanOrEqual(leaves(program).length);
  for (const line of examples) expect(problemOf(line), line).toBeUndefined();
});

/** Their documents are described in src/local/status.ts and src/conformance/report.ts. */
const ELSEWHERE = ['local start', 'local status', 'conformance'];

test('the parser of documents finds stale and missing comments', () => {
  const source =
    '/** `a list`, `show`: all. */\nexport interface A {}\n/** `b c|d --dry-run` */\nexport type B = 1;\n/** Of no command. */\nexport interface C {}';
  const names = documentNames(source, ['a list', 'a show', 'b c', 'b d', 'e']);
  expect([...names]).toEqual([
    ['a list', ['A']],
    ['a show', ['A']],
    ['b c', ['B']],
    ['b d', ['B']],
  ]);
});

test('every steward command in README and docs is one that the program knows, with options that it has', () => {
  const found = PAGES.flatMap((page) =>
    commandLines(readPage(page), COMMANDS)
      .filter((line) => /^(npx )?steward /.test(line))
      .map((line) => ({ page, line })),
  );
  expect(found.length).toBeGreaterThan(60);
  const wrong = found.flatMap(({ page, line }) => {
    const problem = problemOf(line);
    return problem === undefined ? [] : [`${page}: ${line}: ${problem}`];
  });
  expect(wrong).toEqual([]);
});

test('a command line that the program does not know is found', () => {
  expect(problemOf('npx steward node frob')).toMatch(/unknown command/);
  expect(problemOf('npx steward node list --frob')).toMatch(/unknown option/);
  expect(problemOf('npx steward region-group remove seven')).toMatch(/whole number/);
  expect(problemOf('npx steward operation pause region-group/3/remove')).toMatch(/reason/);
  expect(problemOf('npx steward operation pause --all --reason "network works"')).toBeUndefined();
});

test('links of docs to pages of this project lead somewhere', () => {
  const files = new Set([
    ...PAGES,
    ...readdirSync(join(projectRoot, 'docs'), { recursive: true }).map((name) => `docs/${String(name)}`),
  ]);
  const dead = PAGES.flatMap((page) =>
    [...readPage(page).matchAll(/\]\(([^)#:\s]+)(?:#[^)]*)?\)/g)]
      .map(([, target]) => join(page.startsWith('docs/') ? 'docs' : '', target!))
      .filter((target) => target.endsWith('.md') && !files.has(target))
      .map((target) => `${page}: ${target}`),
  );
  expect(dead).toEqual([]);
});

/** Why the program does not take this line; nothing is run. */
function problemOf(line: string): string | undefined {
  const words = wordsOf(line.replace(/ [>|] .*$/, ''));
  const args = words.slice(words.indexOf('steward') + 1);
  const program = stewardProgram();
  disarm(program);
  // A noun alone is a topic, not a command line.
  if (args.length === 1 && program.commands.some((one) => one.name() === args[0] && one.commands.length > 0))
    return undefined;
  try {
    program.parse(args.map(filled), { from: 'user' });
    return undefined;
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    return code === 'commander.helpDisplayed' || code === 'commander.version' ? undefined : message;
  }
}

/** Placeholders become something that fits. */
function filled(word: string): string {
  if (word === '...') return '1';
  return word.replaceAll(/<(id|n|group)>/g, '3').replaceAll(/<([a-z -]+)>/g, '$1');
}

function wordsOf(line: string): string[] {
  return [...line.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(
    ([, double, single, bare]) => double ?? single ?? bare!,
  );
}

function disarm(command: Command): void {
  command.exitOverride().configureOutput({ writeOut: () => {}, writeErr: () => {}, outputError: () => {} });
  if (command.commands.length === 0) {
    const bare = command as unknown as { _lifeCycleHooks: object };
    bare._lifeCycleHooks = {};
    command.action(() => {});
  }
  for (const one of command.commands) disarm(one);
}

function leaves(command: Command, path: readonly string[] = []): [string, Command][] {
  return command.commands.flatMap((one): [string, Command][] => {
    const here = [...path, one.name()];
    return one.commands.length === 0 ? [[here.join(' '), one]] : leaves(one, here);
  });
}
