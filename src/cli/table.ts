import { clean } from './terminal.js';

export type Paint = (text: string) => string;
export type Cell = string | number | { readonly text: string; readonly paint: Paint };

export interface Column {
  readonly title: string;
  readonly align?: 'right';
}

const GAP = '  ';
const LEAST_WIDTH = 6;

/**
 * A table of at most `width` columns. A cell that does not fit goes on below itself: nothing is cut off. Breaks at spaces
 * and behind slashes or dashes where there are any.
 */
export function table(
  columns: readonly Column[],
  rows: readonly (readonly Cell[])[],
  width: number,
  paintTitle: Paint = (text) => text,
): string {
  const cells = rows.map((row) => row.map(plain));
  const widths = columnWidths(
    columns.map(({ title }, index) => ({
      title: title.length,
      widest: Math.max(title.length, ...cells.map((row) => length(row[index]!.text))),
    })),
    width,
  );
  const titles = columns.map(({ title }) => ({ text: title, paint: paintTitle }));
  return [titles, ...cells].flatMap((row) => lines(row, columns, widths)).join('\n');
}

/** Names and what they are, one below the other. */
export function fields(pairs: readonly (readonly [string, Cell | undefined])[], width: number): string {
  const known = pairs.filter((pair): pair is [string, Cell] => pair[1] !== undefined);
  const names = Math.max(...known.map(([name]) => name.length));
  const columns = [{ title: '' }, { title: '' }];
  return known
    .flatMap(([name, value]) =>
      lines([plain(name), plain(value)], columns, [names, Math.max(width - names - GAP.length, LEAST_WIDTH)]),
    )
    .join('\n');
}

/** A text in lines of at most `width` columns. */
export function paragraph(text: Cell, width: number): string {
  return lines([plain(text)], [{ title: '' }], [width]).join('\n');
}

interface PlainCell {
  readonly text: string;
  readonly paint: Paint;
}

function plain(cell: Cell): PlainCell {
  if (typeof cell === 'object') return { ...cell, text: clean(cell.text) };
  return { text: clean(String(cell)), paint: (text) => text };
}

/** Takes from the widest column until all fit; of titles only when nothing else is left to take. */
function columnWidths(
  columns: readonly { readonly title: number; readonly widest: number }[],
  width: number,
): number[] {
  const widths = columns.map(({ widest }) => widest);
  const room = width - GAP.length * (widths.length - 1);
  for (const least of [
    columns.map(({ title }) => Math.max(title, LEAST_WIDTH)),
    columns.map(() => LEAST_WIDTH),
  ]) {
    const spare = () => widths.map((one, index) => (one > least[index]! ? one : 0));
    while (widths.reduce((sum, one) => sum + one, 0) > room && Math.max(...spare()) > 0) {
      widths[spare().indexOf(Math.max(...spare()))]! -= 1;
    }
  }
  return widths;
}

function lines(row: readonly PlainCell[], columns: readonly Column[], widths: readonly number[]): string[] {
  const wrapped = row.map(({ text }, index) => wrap(text, widths[index]!));
  const height = Math.max(...wrapped.map((one) => one.length));
  return Array.from({ length: height }, (_, line) =>
    row
      .map(({ paint }, index) => {
        const text = wrapped[index]![line] ?? '';
        const padding = ' '.repeat(Math.max(widths[index]! - length(text), 0));
        const painted = text === '' ? '' : paint(text);
        return columns[index]?.align === 'right' ? padding + painted : painted + padding;
      })
      .join(GAP)
      .trimEnd(),
  );
}

function wrap(text: string, width: number): string[] {
  const found: string[] = [];
  let rest = Array.from(text);
  while (rest.length > width) {
    const at = breakAt(rest, width);
    found.push(rest.slice(0, at).join('').trimEnd());
    rest = rest.slice(at);
    while (rest[0] === ' ') rest.shift();
  }
  return [...found, rest.join('')];
}

/**
 * At the last space, or behind the last slash, that leaves a line which is not too short; else behind a dash; else in the
 * middle of a word.
 */
function breakAt(text: readonly string[], width: number): number {
  const last = (breaks: (at: number) => boolean) => {
    for (let at = width; at > width / 3; at -= 1) if (breaks(at)) return at;
    return undefined;
  };
  return (
    last((at) => text[at] === ' ' || text[at - 1] === '/') ?? last((at) => text[at - 1] === '-') ?? width
  );
}

function length(text: string): number {
  return Array.from(text).length;
}
