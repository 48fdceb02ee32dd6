import { type FileHandle, open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { list, rowsOf, text } from './engine.js';
import { lineOfRecord, scanRecords } from './records.js';
import type { Source, SourceContext } from './source.js';
import type { Column, TextSplit } from './split.js';

const BATCH_BYTES = 512 * 1024;
/** A record that is longer is taken for a file that is none of its format. */
const MAX_RECORD_BYTES = 32 * 1024 * 1024;
/** Nothing smaller is worth a sub-task of its own. */
const LEAST_SPLIT_BYTES = 1024;

/** CSV (comma, double quotes, a header line) and NDJSON files, in the order given, divided at ends of records. */
export function openText(
  paths: readonly string[],
  format: 'csv' | 'ndjson',
  { engine, parallelism, scratch }: SourceContext,
): Source {
  const quotes = format === 'csv';

  return {
    async plan() {
      const files: { size: number; from: number; line: number }[] = [];
      let header: string | undefined;
      for (const path of paths) {
        const handle = await openFile(path);
        try {
          const { size } = await handle.stat();
          const first = quotes ? await readHeader(handle, path, size) : { end: 0, lines: 0, text: '' };
          if (header !== undefined && first.text !== header) {
            throw new Error(`${path}, line 1: its columns are not those of ${paths[0]} (${header})`);
          }
          header = first.text;
          files.push({ size, from: first.end, line: 1 + first.lines });
        } finally {
          await handle.close();
        }
      }
      const total = files.reduce((sum, { size, from }) => sum + size - from, 0);
      const share = Math.max(LEAST_SPLIT_BYTES, Math.ceil(total / parallelism));
      const subTasks: TextSplit[][] = Array.from({ length: parallelism }, () => []);
      let given = 0;
      for (const [file, { size, from, line }] of files.entries()) {
        const cuts: Cut[] = [];
        let next = (Math.floor(given / share) + 1) * share - given + from;
        for (; next < size; next += share) cuts.push({ at: next });
        for (const piece of await divideFile(paths[file]!, { file, from, to: size, line }, cuts, quotes)) {
          const index = Math.min(parallelism - 1, Math.floor(given / share));
          subTasks[index]!.push(piece);
          given += piece.to - piece.from;
        }
      }
      return { columns: await columnsOf(), subTasks };
    },

    async reader(connection, columns, name) {
      const path = join(scratch, `${name}.${format}`);
      await writeFile(path, '');
      const types = columns.map((column) => `${text(column.name)}: ${text(column.type)}`).join(', ');
      const rows = quotes
        ? `read_csv(${text(path)}, delim = ',', quote = '"', escape = '"', header = false, auto_detect = false,
             strict_mode = true, columns = {${types}})`
        : `read_json(${text(path)}, format = 'newline_delimited', columns = {${types}})`;
      await connection.run(`CREATE OR REPLACE TEMP VIEW source AS SELECT * FROM ${rows}`);
      return {
        async read(split, pause) {
          if (split.kind !== 'text') throw new Error(`the checkpoint to restore is of another source`);
          if (pause.aborted) return undefined;
          const file = paths[split.file];
          if (file === undefined) throw new Error('the checkpoint to restore is of more files');
          const { bytes, records, lines } = await readRecords(file, split, quotes);
          await writeFile(path, bytes);
          const from = split.from + bytes.length;
          return {
            rows: records,
            bytes: bytes.length,
            rest: from >= split.to ? undefined : { ...split, from, line: split.line + lines },
            explain: (error) => locate(error, { file, firstLine: split.line, batch: path, bytes, format }),
          };
        },
      };
    },
  };

  /** Columns of all the files together, from a sample; rows that are malformed are met when they are read. */
  async function columnsOf(): Promise<Column[]> {
    const how = quotes
      ? `read_csv(${list(paths)}, delim = ',', quote = '"', escape = '"', header = true, ignore_errors = true,
           union_by_name = true)`
      : `read_json(${list(paths)}, format = 'newline_delimited', ignore_errors = true, union_by_name = true)`;
    const connection = await engine.connect();
    try {
      return (await rowsOf(connection, `DESCRIBE SELECT * FROM ${how}`)).map((row) => ({
        name: String(row['column_name']),
        type: String(row['column_type']),
      }));
    } finally {
      connection.closeSync();
    }
  }
}

async function openFile(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'r');
  } catch (error) {
    throw new Error(`cannot read ${path}: ${(error as NodeJS.ErrnoException).code}`, { cause: error });
  }
}

async function readHeader(
  handle: FileHandle,
  path: string,
  size: number,
): Promise<{ end: number; lines: number; text: string }> {
  const bytes = await readBytes(handle, path, 0, Math.min(size, BATCH_BYTES));
  const { end, lines } = scanRecords(bytes, true, bytes.length === size, 1);
  const header = bytes.subarray(0, end).toString().trim();
  if (header === '') throw new Error(`${path}, line 1: there is no header`);
  return { end, lines, text: header };
}

interface Cut {
  /** Byte after which the next record begins a new split. */
  readonly at: number;
}

async function divideFile(
  path: string,
  whole: Omit<TextSplit, 'kind'>,
  cuts: readonly Cut[],
  quotes: boolean,
): Promise<TextSplit[]> {
  const pieces: TextSplit[] = [];
  let { from, line } = whole;
  const push = (to: number): void => {
    if (to > from) pieces.push({ kind: 'text', file: whole.file, from, to, line });
  };
  if (cuts.length > 0) {
    const handle = await openFile(path);
    try {
      let at = whole.from;
      let lineAt = whole.line;
      for (const cut of cuts) {
        while (at < cut.at && at < whole.to) {
          const split = { ...whole, kind: 'text', from: at, line: lineAt } as const;
          const { bytes, lines } = await takeRecords(handle, path, split, quotes, cut.at - at);
          at += bytes.length;
          lineAt += lines;
        }
        push(at);
        from = at;
        line = lineAt;
      }
    } finally {
      await handle.close();
    }
  }
  push(whole.to);
  return pieces;
}

async function readRecords(path: string, split: TextSplit, quotes: boolean) {
  const handle = await openFile(path);
  try {
    return await takeRecords(handle, path, split, quotes);
  } finally {
    await handle.close();
  }
}

/** Whole records from the start of the split: about a batch of them, or up to the first that ends after `most` bytes. */
async function takeRecords(
  handle: FileHandle,
  path: string,
  { from, to, line }: TextSplit,
  quotes: boolean,
  most = BATCH_BYTES,
): Promise<{ bytes: Buffer; records: number; lines: number }> {
  for (let size = BATCH_BYTES; ; size *= 4) {
    const length = Math.min(size, to - from);
    const bytes = await readBytes(handle, path, from, length);
    const scanned = scanRecords(bytes, quotes, length === to - from, most);
    if (scanned.end > 0) return { ...scanned, bytes: bytes.subarray(0, scanned.end) };
    if (size >= MAX_RECORD_BYTES) {
      throw new Error(`${path}, line ${line}: a record of more than ${MAX_RECORD_BYTES >> 20} MiB`);
    }
  }
}

async function readBytes(handle: FileHandle, path: string, from: number, length: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(length);
  let have = 0;
  while (have < length) {
    const { bytesRead } = await handle.read(bytes, have, length - have, from + have);
    if (bytesRead === 0) throw new Error(`${path} is shorter than it was at the start`);
    have += bytesRead;
  }
  return bytes;
}

interface BatchPlace {
  /** Of the source. */
  readonly file: string;
  readonly firstLine: number;
  /** The file that DuckDB read it from. */
  readonly batch: string;
  readonly bytes: Buffer;
  readonly format: 'csv' | 'ndjson';
}

/** The error of a batch, told with the file and line of the source. */
function locate(error: Error, { file, firstLine, batch, bytes, format }: BatchPlace): Error {
  if (!error.message.includes(batch)) return error;
  const told = Number(/[Ll]ine:? (\d+)/.exec(error.message)?.[1] ?? 1);
  const line = format === 'csv' ? lineOfRecord(bytes, told) : (malformedLine(bytes) ?? told);
  const reason = error.message
    .split(/\nPossible |\n\s*file = |\nColumn .* is being|\nTry setting/)[0]!
    .replace(/CSV Error on Line: \d+\n/, '')
    .replace(/ in file "[^"]*", (?:at byte \d+ )?in line \d+/, '')
    .replaceAll(/\s*\n\s*/g, '; ')
    .replace(/^[A-Z]\w+(?: \w+)* Error: /, '');
  return new Error(`${file}, line ${firstLine + line - 1}: ${reason.trim()}`, { cause: error });
}

/** The first line, from 1 on, that is no JSON. */
function malformedLine(ndjson: Buffer): number | undefined {
  const index = ndjson
    .toString()
    .split('\n')
    .findIndex((line) => {
      if (line.trim() === '') return false;
      try {
        JSON.parse(line);
        return false;
      } catch {
        return true;
      }
    });
  return index < 0 ? undefined : index + 1;
}
