import { closeSync, fsync, openSync, readdirSync, rmdirSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** Flushes an open file, or directory, without holding up other work. */
export const flushFile = promisify(fsync);

/** Writes a file; `then` gets it open, also after a failure. */
export function writeWhole(path: string, content: string | Buffer, then: (file: number) => void): void {
  const file = openSync(path, 'w');
  try {
    const bytes = Buffer.from(content);
    for (let written = 0; written < bytes.length; ) written += writeSync(file, bytes, written);
  } finally {
    then(file);
  }
}

/** Makes what was made, renamed or removed in a directory outlast a crash. */
export async function flushDirectory(path: string): Promise<void> {
  const directory = openSync(path, 'r');
  try {
    await flushFile(directory);
  } finally {
    closeSync(directory);
  }
}

/** Paths of all files below it. */
export function filesUnder(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name);
    return entry.isDirectory() ? filesUnder(path) : [path];
  });
}

/** Names of the directories in it; none when it is not there. */
export function directoriesIn(path: string): string[] {
  try {
    const entries = readdirSync(path, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  } catch (error) {
    if (isAbsent(error)) return [];
    throw error;
  }
}

export function removeIfEmpty(directory: string): void {
  try {
    rmdirSync(directory);
  } catch {
    // Others have something in it, or it is gone already.
  }
}

export function isAbsent(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code;
  return code === 'ENOENT' || code === 'ENOTDIR';
}
