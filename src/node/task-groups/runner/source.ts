import type { DuckDBConnection } from '@duckdb/node-api';
import type { Engine } from './engine.js';
import type { Column, Position, Split } from './split.js';

/** The next rows of a split, in place as the view `source`. */
export interface Batch {
  readonly rows: number;
  /** Roughly what they take. */
  readonly bytes: number;
  /** What is left of the split; undefined: nothing. */
  readonly rest: Split | undefined;
  /** Says where in the source an error of reading it came from. */
  explain(error: Error): Error;
}

/** Reads the splits of one sub-task. */
export interface Reader {
  /** Waits for rows that are due; undefined when `pause` was aborted before there were any. */
  read(split: Split, pause: AbortSignal): Promise<Batch | undefined>;
}

export interface Source {
  /** Deals out the whole source. */
  plan(): Promise<Position>;
  /**
   * Reads for one sub-task, whose connection gets the view `source` at once, with no rows or any. `name` tells the
   * sub-tasks apart.
   */
  reader(connection: DuckDBConnection, columns: readonly Column[], name: string): Promise<Reader>;
}

/** What the sources need of the pipeline that they belong to. */
export interface SourceContext {
  readonly engine: Engine;
  readonly parallelism: number;
  /** Directory for what is needed while it is read. */
  readonly scratch: string;
}
