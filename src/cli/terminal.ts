import pc from 'picocolors';

/** Where output goes: documents and tables on stdout, everything else on stderr. */

const COLUMNS = 80;
const LEAST_COLUMNS = 40;

/** Colours for stdout, only on a terminal and without NO_COLOR. */
export const colors = pc.createColors(onTerminal(process.stdout));

/** Columns that a table may take. */
export function tableWidth(): number {
  return Math.max(process.stdout.isTTY ? process.stdout.columns || COLUMNS : COLUMNS, LEAST_COLUMNS);
}

/** The document as JSON, or what a person sees instead. */
export function print<D>(
  options: { readonly json?: boolean | undefined },
  document: D,
  render: () => string,
): void {
  process.stdout.write(options.json ? `${JSON.stringify(document, undefined, 2)}\n` : `${render()}\n`);
}

/** One line on stderr. */
export function printLine(line: string): void {
  process.stderr.write(`${clean(line)}\n`);
}

/** What comes from elsewhere must not steer the terminal, or break a line. */
export function clean(text: string): string {
  return text.replaceAll(/\p{Cc}+/gu, ' ').trimEnd();
}

function onTerminal(stream: NodeJS.WriteStream): boolean {
  return stream.isTTY === true && !process.env['NO_COLOR'] && process.env['TERM'] !== 'dumb';
}
