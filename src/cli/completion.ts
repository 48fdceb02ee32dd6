import type { Command } from 'commander';
import { ARGUMENTS, type Noun, OPTIONS } from './candidates.js';

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

/** A command as a shell completes it: the words that may follow it. */
interface Place {
  /** Words of the command behind `steward`; empty for the program itself. */
  readonly path: readonly string[];
  readonly words: readonly Word[];
  /** Its options that a value follows. */
  readonly valued: readonly string[];
  /** What its arguments name; the last one stands for all that follow when there may be several. */
  readonly nouns: readonly (Noun | undefined)[];
  readonly variadic: boolean;
}

interface Word {
  readonly text: string;
  readonly description: string;
}

/**
 * A script for the shell, made from the commands of the program. Ids are asked for when one is to be typed: by `steward completion
 * <shell> --candidates <noun>`, which says nothing when no Steward answers.
 */
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
  const options = command.options.filter(({ hidden }) => !hidden);
  const words = [
    ...command.commands.map((one) => ({ text: one.name(), description: one.description() })),
    ...options.map(({ long, description }) => ({ text: long ?? '', description })),
    { text: '--help', description: 'show help' },
  ].filter(({ text }) => text !== '');
  const place = {
    path,
    words,
    valued: options.filter(({ required }) => required).map(({ long }) => long ?? ''),
    nouns: ARGUMENTS[path.join(' ')] ?? [],
    variadic: command.registeredArguments.at(-1)?.variadic === true,
  };
  return [place, ...command.commands.flatMap((one) => placesOf(one, [...path, one.name()]))];
}

function bash(places: readonly Place[]): string {
  return `# bash completion of steward; load it with: source <(steward completion bash)
_steward() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" end="$COMP_CWORD" id
  ${VARIABLES}
  for ((i = 1; i < end; i++)); do
    word="\${COMP_WORDS[i]}"
${reading(places)}
  done
${deciding(places)}
  COMPREPLY=()
  if [[ -n $noun && $cur != -* ]]; then
    while IFS= read -r id; do
      if [[ $id == "$cur"* ]]; then COMPREPLY+=("$id"); fi
    done < <("\${COMP_WORDS[0]}" completion bash --candidates "$noun" 2>/dev/null)
  fi
  if ((\${#COMPREPLY[@]} == 0)); then COMPREPLY=($(compgen -W "$offers" -- "$cur")); fi
}
complete -o default -F _steward steward
`;
}

function zsh(places: readonly Place[]): string {
  return `#compdef steward
# zsh completion of steward; load it with: source <(steward completion zsh)
_steward() {
  local end="$CURRENT"
  ${VARIABLES}
  local -a ids
  for ((i = 2; i < end; i++)); do
    word="\${words[i]}"
${reading(places)}
  done
${deciding(places)}
  if [[ -n $noun && \${words[CURRENT]} != -* ]]; then
    ids=(\${(f)"$("\${words[1]}" completion zsh --candidates "$noun" 2>/dev/null)"})
    if ((\${#ids} > 0)); then
      compadd -- $ids
      return
    fi
  fi
  compadd -- \${(s: :)offers}
  _files
}
compdef _steward steward
`;
}

/** Of bash and zsh alike: the command so far, how many arguments it has, the option whose value is typed, and what to offer. */
const VARIABLES = 'local place="" position=0 valued="" offers="" noun="" word="" i';

/** Takes in one word before the cursor. */
function reading(places: readonly Place[]): string {
  const known = places.filter(({ path }) => path.length > 0).map(({ path }) => `" ${path.join(' ')}"`);
  const valued = [...new Set(places.flatMap((place) => place.valued))].sort();
  return `    case "$place $word" in
      ${known.join(' | ')})
        place="$place $word"
        continue ;;
    esac
    case "$word" in
      ${valued.join(' | ')})
        valued="$word"
        i=$((i + 1)) ;;
      -*) ;;
      *) position=$((position + 1)) ;;
    esac`;
}

/** What may follow: the value of an option, when that had the last word, else words of the command and ids. */
function deciding(places: readonly Place[]): string {
  const values = Object.entries(OPTIONS).map(([option, noun]) => `      ${option}) noun="${noun}" ;;`);
  const words = places.map(
    ({ path, words: offered }) =>
      `      "${path.map((word) => ` ${word}`).join('')}") offers="${offered.map(({ text }) => text).join(' ')}" ;;`,
  );
  const ids = places.flatMap(({ path, nouns, variadic }) =>
    nouns.flatMap((noun, position) => {
      if (noun === undefined) return [];
      const at =
        variadic && position === nouns.length - 1
          ? `" ${path.join(' ')} "*`
          : `" ${path.join(' ')} ${position}"`;
      return [`      ${at}) noun="${noun}" ;;`];
    }),
  );
  return `  if ((i > end)); then
    case "$valued" in
${values.join('\n')}
    esac
  else
    case "$place" in
${words.join('\n')}
    esac
    case "$place $position" in
${ids.join('\n')}
    esac
  fi`;
}

function fish(places: readonly Place[]): string {
  const lines = places.flatMap(({ path, words, nouns }) => {
    const at = `complete -c steward -n '__steward_at ${path.join(' ')}'`;
    const named = new Set(nouns.filter((noun) => noun !== undefined));
    return [
      ...words.map(({ text, description }) => {
        const noun = OPTIONS[text];
        const value = noun === undefined ? '' : ` -x -a '${candidatesFor(noun)}'`;
        const what = text.startsWith('--') ? `-l ${text.slice(2)}${value}` : `-f -a ${text}`;
        return `${at} ${what} -d '${description.replaceAll("'", "\\'")}'`;
      }),
      ...[...named].map((noun) => `${at} -f -a '${candidatesFor(noun)}'`),
    ];
  });
  const known = places.filter(({ path }) => path.length > 0).map(({ path }) => `'${path.join(' ')}'`);
  return `# fish completion of steward; load it with: steward completion fish | source
function __steward_at
  set -l known ${[...new Set(known)].join(' ')}
  set -l path
  for word in (commandline -opc)[2..-1]
    if contains -- (string join -- ' ' $path $word) $known
      set -a path $word
    end
  end
  test "$path" = "$argv"
end
${lines.join('\n')}
`;
}

function candidatesFor(noun: Noun): string {
  return `(steward completion fish --candidates ${noun} 2>/dev/null)`;
}
