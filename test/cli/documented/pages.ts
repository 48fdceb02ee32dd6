import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { projectRoot } from '../../../src/project.js';

/** README and every page of docs. */
export const PAGES: readonly string[] = [
  'README.md',
  ...readdirSync(join(projectRoot, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .sort()
    .map((name) => `docs/${name}`),
];

export function readPage(path: string): string {
  return readFileSync(join(projectRoot, path), 'utf8');
}

/**
 * The commands of a page, in order: every line of its `sh` blocks, the lines behind a `$` of its `console` blocks, and
 * `steward` commands that stand in the text. Of `names`, the commands without arguments, a text may speak without meaning
 * a command line: those count with `npx` before them. What the text repeats counts once.
 */
export function commandLines(markdown: string, names: ReadonlySet<string>): string[] {
  const found: { readonly at: number; readonly lines: readonly string[]; readonly typed: boolean }[] = [];
  const text = markdown.replaceAll(
    /^```(\w*)\n([\s\S]*?)^```$/gm,
    (block, language: string, content: string, at: number) => {
      if (!content.startsWith('#!')) found.push({ at, lines: blockLines(language, content), typed: true });
      return ' '.repeat(block.length);
    },
  );
  for (const match of text.matchAll(/`((?:npx )?steward [^`]+)`/g)) {
    const lines = mentioned(match[1]!.replaceAll('\n', ' '), names);
    found.push({ at: match.index, lines, typed: false });
  }
  const all: string[] = [];
  for (const { lines, typed } of found.sort((a, b) => a.at - b.at)) {
    const bare = lines.map((line) => line.replace(/\s+#( .*)?$/, '').trim());
    all.push(...bare.filter((line) => typed || !all.includes(line)));
  }
  return all;
}

function blockLines(language: string, content: string): string[] {
  if (language !== 'sh' && language !== 'console') return [];
  const lines = content.replaceAll(/\s*\\\n\s*/g, ' ').split('\n');
  if (language === 'sh') return lines.filter((line) => line.trim() !== '' && !line.startsWith('#'));
  return lines.filter((line) => line.startsWith('$ ')).map((line) => line.slice(2));
}

/** A mention in the text may be of several verbs, have options in brackets, or be the name of a command alone. */
function mentioned(line: string, names: ReadonlySet<string>): string[] {
  const bare = line.replaceAll(/[[\]]/g, '');
  const alternatives = /^(.*?)(\S+\|\S+)(.*)$/.exec(bare);
  const lines =
    alternatives === null
      ? [bare]
      : alternatives[2]!.split('|').map((word) => `${alternatives[1]}${word}${alternatives[3]}`);
  return lines.filter((one) => !names.has(one.replace(/^steward /, '')));
}
