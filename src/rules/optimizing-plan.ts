import type { OptimizingKind } from './words.js';

/** A file as planning sees it. */
export interface SizedFile {
  readonly bytes: number;
}

/** Counts of the files of a table, by which it is found without reading its snapshot. */
export interface FileCounts {
  readonly files: number;
  readonly smallFiles: number;
  readonly undersizedFiles: number;
}

/** A file is small below this share of the target size. */
const SMALL_SHARE = 1 / 8;
/** A file is undersized below this share of the target size, unless it is small. */
const UNDERSIZED_SHARE = 3 / 4;
/** Small files from which a table is due for MINOR. */
export const MINOR_SMALL_FILES = 12;
/** Undersized files from which a table is due for MAJOR. */
export const MAJOR_UNDERSIZED_FILES = 4;
/** A MAJOR that would rewrite this share of the table's bytes becomes FULL. */
const FULL_SHARE = 3 / 4;
/** Files that one task merges at most. */
export const MAX_TASK_FILES = 64;
/** Tasks of one process at most; what is left is planned after it. */
export const MAX_TASKS = 64;

export function countFiles(files: readonly SizedFile[], targetBytes: number): FileCounts {
  const smallFiles = files.filter(isSmall(targetBytes)).length;
  const undersizedFiles = files.filter(isUndersized(targetBytes)).length;
  return { files: files.length, smallFiles, undersizedFiles };
}

/** Which kind of optimizing the files call for; undefined for none. */
export function dueKind(files: readonly SizedFile[], targetBytes: number): OptimizingKind | undefined {
  const { smallFiles, undersizedFiles } = countFiles(files, targetBytes);
  if (undersizedFiles >= MAJOR_UNDERSIZED_FILES) {
    const rewritten = sum(candidates('MAJOR', files, targetBytes));
    return rewritten >= sum(files) * FULL_SHARE ? 'FULL' : 'MAJOR';
  }
  return smallFiles >= MINOR_SMALL_FILES ? 'MINOR' : undefined;
}

/**
 * The files of each task: MINOR merges the small ones, MAJOR also the undersized ones, FULL all. A task has at least two
 * files and no file is in two tasks, so that every process that commits leaves fewer files. For MINOR and MAJOR, what a
 * task merges stays below 1.5 times the target size.
 */
export function planTasks<File extends SizedFile>(
  kind: OptimizingKind,
  files: readonly File[],
  targetBytes: number,
): File[][] {
  const full = kind === 'FULL' ? targetBytes : targetBytes * UNDERSIZED_SHARE;
  const tasks: File[][] = [];
  let task: File[] = [];
  const close = () => {
    if (task.length > 1) tasks.push(task);
    task = [];
  };
  for (const file of candidates(kind, files, targetBytes).sort((a, b) => a.bytes - b.bytes)) {
    task.push(file);
    if (sum(task) >= full || task.length === MAX_TASK_FILES) close();
  }
  close();
  return tasks.slice(0, MAX_TASKS);
}

function candidates<File extends SizedFile>(
  kind: OptimizingKind,
  files: readonly File[],
  targetBytes: number,
): File[] {
  const small = isSmall(targetBytes);
  const undersized = isUndersized(targetBytes);
  switch (kind) {
    case 'MINOR':
      return files.filter(small);
    case 'MAJOR':
      return files.filter((file) => small(file) || undersized(file));
    case 'FULL':
      return [...files];
  }
}

function isSmall(targetBytes: number) {
  return ({ bytes }: SizedFile) => bytes < targetBytes * SMALL_SHARE;
}

function isUndersized(targetBytes: number) {
  return ({ bytes }: SizedFile) =>
    bytes >= targetBytes * SMALL_SHARE && bytes < targetBytes * UNDERSIZED_SHARE;
}

function sum(files: readonly SizedFile[]): number {
  return files.reduce((total, { bytes }) => total + bytes, 0);
}
