import type { Argument, Command, Option } from 'commander';

/** The reference of the command line, `docs/cli.md`, made from the program itself. */

/** Names of documents in src/cli/documents.ts by the command that prints them, as their comments say. */
export type DocumentNames = ReadonlyMap<string, readonly string[]>;

/**
 * Reads which command prints which document from the comments of src/cli/documents.ts: a comment in front of a document
 * starts with its commands, such as "`table create|show`, `list`", where a verb alone belongs to the noun before it.
 */
export function documentNames(source: string, commands: readonly string[]): DocumentNames {
  const names = new Map<string, string[]>();
  for (const [, comment = '', name = ''] of source.matchAll(
    /\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\s*export (?:interface|type) (\w+)/g,
  )) {
    let noun = '';
    for (const [, span = ''] of comment.matchAll(/`([^`]+)`/g)) {
      const text = span.replace(/ --dry-run$/, '');
      const [first = '', ...rest] = text.split(' ');
      const verbs = (rest.length > 0 ? rest.join(' ') : first).split('|');
      if (rest.length > 0) noun = first;
      for (const verb of verbs) {
        const command =
          rest.length > 0 ? `${first} ${verb}` : commands.includes(verb) ? verb : `${noun} ${verb}`;
        if (!commands.includes(command)) continue;
        const known = names.get(command) ?? [];
        if (!known.includes(name)) names.set(command, [...known, name]);
      }
    }
  }
  return names;
}

/** Paths of all commands that do something: `database create`, `doctor`. */
export function commandPaths(program: Command): string[] {
  return leaves(program, []).map(({ path }) => path);
}

export function cliReference(program: Command, documents: DocumentNames): string {
  const all = leaves(program, []);
  return `${[
    '# The `steward` command',
    '',
    'Made from the program by `npm run docs:cli`; a test compares. Run it as `npx steward` from the checkout.',
    '',
    'Every command takes `--help`. With `--json` it prints one document, whose type is named below and described in',
    '[src/cli/documents.ts](../src/cli/documents.ts); one that failed prints `ErrorDocument`. Commands that change something',
    'take `--dry-run`. What destroys asks on a terminal unless `--yes` is given; without a terminal nobody is asked.',
    '',
    '| exit code | meaning |',
    '| --- | --- |',
    '| 0 | done |',
    '| 1 | failed |',
    '| 2 | bad usage or input |',
    '| 3 | refused: held by another, taken over by it, or not allowed there |',
    '| 4 | given up waiting; the operation goes on |',
    '',
    '| command | what it does |',
    '| --- | --- |',
    ...all.map(({ path, command }) => `| [\`${path}\`](#${anchor(path)}) | ${cell(command.description())} |`),
    ...all.flatMap(({ path, command }) => commandText(path, command, documents.get(path) ?? [])),
  ].join('\n')}\n`;
}

function commandText(path: string, command: Command, documents: readonly string[]): string[] {
  const options = command.options.filter(({ hidden }) => !hidden);
  return [
    '',
    `## ${path}`,
    '',
    `${command.description()}.`,
    '',
    '```console',
    `steward ${path} ${command.usage()}`.trimEnd(),
    ...examplesOf(command),
    '```',
    '',
    ...(documents.length === 0
      ? []
      : [`With \`--json\`: ${documents.map((name) => `\`${name}\``).join(', ')}.`, '']),
    '| argument, option | meaning |',
    '| --- | --- |',
    ...command.registeredArguments.map((one) => `| \`${argumentText(one)}\` | ${cell(one.description)} |`),
    ...options.map((one) => `| \`${cell(one.flags)}\` | ${cell(optionText(one))} |`),
    '| `-h, --help` | show help |',
  ];
}

/** As its help shows them. */
function examplesOf(command: Command): string[] {
  let help = '';
  const before = command.configureOutput();
  command.configureOutput({ ...before, writeOut: (text) => (help += text) });
  command.outputHelp();
  command.configureOutput(before);
  return help
    .split('\n')
    .filter((line) => line.startsWith('  $ '))
    .map((line) => line.slice(2));
}

function leaves(command: Command, path: readonly string[]): { path: string; command: Command }[] {
  return command.commands.flatMap((one) => {
    const here = [...path, one.name()];
    return one.commands.length === 0 ? [{ path: here.join(' '), command: one }] : leaves(one, here);
  });
}

function argumentText(argument: Argument): string {
  const name = `${argument.name()}${argument.variadic ? '...' : ''}`;
  return argument.required ? `<${name}>` : `[${name}]`;
}

function optionText({ description, defaultValue, envVar, argChoices }: Option): string {
  const notes = [
    ...(argChoices ? [`one of ${argChoices.join(', ')}`] : []),
    ...(defaultValue === undefined || typeof defaultValue === 'boolean'
      ? []
      : [`default ${String(defaultValue)}`]),
    ...(envVar === undefined ? [] : [`else $${envVar}`]),
  ];
  return `${description}${notes.length === 0 ? '' : ` (${notes.join('; ')})`}`;
}

function anchor(path: string): string {
  return path.replaceAll(' ', '-');
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|');
}
