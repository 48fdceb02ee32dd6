import type { Command } from 'commander';

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

/** A command as a shell completes it: the words that may follow it. */
interface Place {
  /** Words of the command behind `steward`; empty for the program itself. */
  readonly path: readonly string[];
  readonly words: readonly Word[];
}

interface Word {
  readonly text: string;
  readonly description: string;
}

/** A script for the shell, made from the commands of the program. */
export function completionScript(program: Command, shell: Shell): string {
  const places = placesOf(program, []);
  switch (shell) {
    case 'bash':
      return bash(places);
    case 'zsh':
      return zsh(places);
    case 'fish':
      return fish(places);
  }
}

function placesOf(command: Command, path: readonly string[]): Place[] {
  const words = [
    ...command.commands.map((one) => ({ text: one.name(), description: one.description() })),
    ...command.options
      .filter(({ hidden }) => !hidden)
      .map(({ long, description }) => ({ text: long ?? '', description })),
    { text: '--help', description: 'show help' },
  ].filter(({ text }) => text !== '');
  return [{ path, words }, ...command.commands.flatMap((one) => placesOf(one, [...path, one.name()]))];
}

/** Finds the command in the words before the cursor, and offers what may follow it. */
function bash(places: readonly Place[]): string {
  return `# bash completion of steward; load it with: source <(steward completion bash)
_steward() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" path="" word i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="\${COMP_WORDS[i]}"
    case "$path $word" in
${knownPaths(places)}
    esac
  done
  local words=""
  case "$path" in
${wordCases(places)}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o default -F _steward steward
`;
}

function zsh(places: readonly Place[]): string {
  return `#compdef steward
# zsh completion of steward; load it with: source <(steward completion zsh)
_steward() {
  local path_of="" word words_of="" i
  for ((i = 2; i < CURRENT; i++)); do
    word="\${words[i]}"
    case "$path_of $word" in
${knownPaths(places).replaceAll('path=', 'path_of=').replaceAll('$path ', '$path_of ')}
    esac
  done
  case "$path_of" in
${wordCases(places).replaceAll('words=', 'words_of=')}
  esac
  compadd -- \${(s: :)words_of}
  _files
}
compdef _steward steward
`;
}

function knownPaths(places: readonly Place[]): string {
  const known = places.filter(({ path }) => path.length > 0).map(({ path }) => `" ${path.join(' ')}"`);
  return `      ${known.join(' | ')}) path="$path $word" ;;`;
}

function wordCases(places: readonly Place[]): string {
  return places
    .map(
      ({ path, words }) =>
        `    "${path.map((word) => ` ${word}`).join('')}") words="${words.map(({ text }) => text).join(' ')}" ;;`,
    )
    .join('\n');
}

function fish(places: readonly Place[]): string {
  const lines = places.flatMap(({ path, words }) =>
    words.map(({ text, description }) => {
      const what = text.startsWith('--') ? `-l ${text.slice(2)}` : `-f -a ${text}`;
      const shown = description.replaceAll("'", "\\'");
      return `complete -c steward -n '__steward_at ${path.join(' ')}' ${what} -d '${shown}'`;
    }),
  );
  const nouns = places.filter(({ path }) => path.length > 0).map(({ path }) => `'${path.join(' ')}'`);
  return `# fish completion of steward; load it with: steward completion fish | source
function __steward_at
  set -l known ${[...new Set(nouns)].join(' ')}
  set -l path
  for word in (commandline -opc)[2..-1]
    if contains -- (string join ' ' $path $word) $known
      set -a path $word
    end
  end
  test "$path" = "$argv"
end
${lines.join('\n')}
`;
}
