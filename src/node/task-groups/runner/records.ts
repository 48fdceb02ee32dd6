const NEWLINE = 0x0a;
const RETURN = 0x0d;
const QUOTE = 0x22;
const SPACE = 0x20;
const TAB = 0x09;

/** What is in the first bytes of a text. */
export interface Scanned {
  /** Bytes of the whole records. */
  readonly end: number;
  /** Records that are not blank. */
  readonly records: number;
  /** Line ends in these bytes. */
  readonly lines: number;
}

/**
 * Finds the whole records at the start of the bytes: each ends with a line end that is not inside of quotes.
 *
 * @param quotes whether `"` quotes, as in CSV
 * @param whole what follows the last line end is a record as well
 * @param most bytes after which no further record begins
 */
export function scanRecords(bytes: Buffer, quotes: boolean, whole: boolean, most = bytes.length): Scanned {
  let end = 0;
  let records = 0;
  let lines = 0;
  let seen = 0;
  let quoted = false;
  let blank = true;
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes[at]!;
    if (byte === NEWLINE) {
      seen += 1;
      if (quoted) continue;
      end = at + 1;
      lines = seen;
      if (!blank) records += 1;
      blank = true;
      if (end >= most) return { end, records, lines };
    } else if (byte === QUOTE && quotes) {
      quoted = !quoted;
      blank = false;
    } else if (blank && byte !== RETURN && byte !== SPACE && byte !== TAB) {
      blank = false;
    }
  }
  if (!whole) return { end, records, lines };
  return { end: bytes.length, records: blank ? records : records + 1, lines: seen };
}

/** The line, from 1 on, at which the n-th record of a CSV text begins, blank ones counted. */
export function lineOfRecord(csv: Buffer, record: number): number {
  let records = 1;
  let lines = 1;
  let quoted = false;
  for (let at = 0; at < csv.length && records < record; at += 1) {
    if (csv[at] === QUOTE) quoted = !quoted;
    if (csv[at] !== NEWLINE) continue;
    lines += 1;
    if (!quoted) records += 1;
  }
  return lines;
}
