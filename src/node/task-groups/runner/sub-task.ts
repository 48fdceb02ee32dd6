import { open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import type { FileFormat, Part } from '../../operation.js';
import { text } from './engine.js';
import type { Reader } from './source.js';
import type { Split } from './split.js';
import { createOutput } from './transform.js';

/** A part is closed when it holds so many rows, or rows of so many bytes of the source. */
const PART_ROWS = 200_000;
const PART_BYTES = 32 * 1024 * 1024;

const COPY_OPTIONS = {
  csv: 'FORMAT csv, HEADER',
  ndjson: 'FORMAT json',
  parquet: 'FORMAT parquet',
} as const satisfies Record<FileFormat, string>;

export interface SubTaskOptions {
  readonly connection: DuckDBConnection;
  readonly reader: Reader;
  readonly select: string;
  readonly format: FileFormat;
  readonly directory: string;
  /** Names the n-th part of the present checkpoint, both paths relative to the directory. */
  readonly nameOf: (part: number) => Pick<Part, 'staged' | 'published'>;
  /** Called after every batch. */
  readonly onBatch: (rowsIn: number, rowsOut: number) => void;
  /** Called with the bytes of every part that is staged. */
  readonly onPart: (bytes: number) => void;
}

/** Reads its own splits of the source, one batch after the other, and stages what the transform makes of them. */
export class SubTask {
  readonly #splits: Split[];
  #parts: Part[] = [];
  #rows = 0;
  #bytes = 0;

  constructor(
    private readonly options: SubTaskOptions,
    splits: readonly Split[],
  ) {
    this.#splits = [...splits];
  }

  /** What it has still to read. */
  get splits(): readonly Split[] {
    return this.#splits;
  }

  /** Works until there is nothing left, or `pause` is aborted, then at the end of a batch. */
  async run(pause: AbortSignal): Promise<void> {
    const { reader, connection, select, onBatch } = this.options;
    for (let split = this.#splits[0]; split !== undefined && !pause.aborted; split = this.#splits[0]) {
      const batch = await reader.read(split, pause);
      if (batch === undefined) return;
      let made: number;
      try {
        made = (await connection.run(`INSERT INTO out ${select}`)).rowsChanged;
      } catch (error) {
        throw batch.explain(error as Error);
      }
      this.#splits.shift();
      // Sequences take turns: one without end would keep the others from ever being read.
      if (batch.rest?.kind === 'sequence') this.#splits.push(batch.rest);
      else if (batch.rest !== undefined) this.#splits.unshift(batch.rest);
      this.#rows += made;
      this.#bytes += batch.bytes;
      onBatch(batch.rows, made);
      if (this.#rows >= PART_ROWS || this.#bytes >= PART_BYTES) await this.#stage();
    }
  }

  /** Stages what is left and answers all parts since the checkpoint before. */
  async checkpoint(): Promise<Part[]> {
    await this.#stage();
    const parts = this.#parts;
    this.#parts = [];
    return parts;
  }

  /** Writes a part and has it on disk before it is told. */
  async #stage(): Promise<void> {
    const { connection, select, format, directory, nameOf, onPart } = this.options;
    const rows = this.#rows;
    if (rows > 0) {
      const name = nameOf(this.#parts.length + 1);
      const path = join(directory, name.staged);
      await connection.run(`COPY out TO ${text(path)} (${COPY_OPTIONS[format]})`);
      const file = await open(path, 'r');
      try {
        await file.sync();
      } finally {
        await file.close();
      }
      const { size } = await stat(path);
      this.#parts.push({ ...name, rows, bytes: size });
      onPart(size);
      await createOutput(connection, select);
    }
    this.#rows = 0;
    this.#bytes = 0;
  }
}
