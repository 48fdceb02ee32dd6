/** A piece of the source that a sub-task has still to read. */
export type Split = TextSplit | RowSplit | SequenceSplit;

/** Whole records of a CSV or NDJSON file. */
export interface TextSplit {
  readonly kind: 'text';
  /** Index of the file among the paths of the source. */
  readonly file: number;
  /** Bytes; both are at the start of a record, or at the end of the file. */
  readonly from: number;
  readonly to: number;
  /** Line of the file at `from`, from 1 on. */
  readonly line: number;
}

/** Rows of a Parquet file, by their number in the file. */
export interface RowSplit {
  readonly kind: 'rows';
  readonly file: number;
  readonly from: number;
  readonly to: number;
}

/** Numbers that a generator has still to give out: `next`, `next + step`, ... */
export interface SequenceSplit {
  readonly kind: 'sequence';
  readonly next: number;
  readonly step: number;
  /** How many; null: without end. */
  readonly left: number | null;
}

export interface Column {
  readonly name: string;
  readonly type: string;
}

/** Where each sub-task goes on: the position of a checkpoint. */
export interface Position {
  /** As they were found at the first start, so that they are the same ever after. */
  readonly columns: readonly Column[];
  /** What is left, for each sub-task. */
  readonly subTasks: readonly (readonly Split[])[];
}

const VERSION = 1;

/** Base64, as a checkpoint holds it. */
export function encodePosition(position: Position): string {
  return Buffer.from(JSON.stringify({ version: VERSION, ...position })).toString('base64');
}

/** Reads what {@link encodePosition} made; throws for anything else. */
export function decodePosition(encoded: string): Position {
  try {
    const { version, columns, subTasks } = JSON.parse(
      Buffer.from(encoded, 'base64').toString(),
    ) as Position & {
      version: number;
    };
    if (version === VERSION && Array.isArray(columns) && Array.isArray(subTasks))
      return { columns, subTasks };
  } catch {
    // Told below.
  }
  throw new Error('the position of the checkpoint to restore was not made by this kind of node');
}

/**
 * Gives what is left to so many sub-tasks. The same number as before keeps their splits; with another one the splits are
 * dealt out, and sequences are divided so that every sub-task has some.
 */
export function distribute(subTasks: readonly (readonly Split[])[], parallelism: number): Split[][] {
  if (subTasks.length === parallelism) return subTasks.map((splits) => [...splits]);
  const all = subTasks.flat();
  const shares = Math.ceil(parallelism / Math.max(1, all.length));
  const pieces = all.flatMap((split): readonly Split[] =>
    split.kind === 'sequence' ? divide(split, shares) : [split],
  );
  const dealt: Split[][] = Array.from({ length: parallelism }, () => []);
  for (const [index, piece] of pieces.entries()) dealt[index % parallelism]!.push(piece);
  return dealt;
}

/** The same numbers as so many sequences that take turns; fewer when there are not so many numbers. */
export function divide({ next, step, left }: SequenceSplit, shares: number): SequenceSplit[] {
  return Array.from(
    { length: shares },
    (_, share): SequenceSplit => ({
      kind: 'sequence',
      next: next + share * step,
      step: step * shares,
      left: left === null ? null : Math.max(0, Math.ceil((left - share) / shares)),
    }),
  ).filter((split) => split.left !== 0);
}
