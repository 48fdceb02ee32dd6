import { randomUUID } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { makeDirectory } from './whole-files.js';

/**
 * A table on disk: `data/*.parquet` and `metadata/*.json`, one snapshot each. Paths of files are relative to the
 * table's location, with `/` between their parts.
 */
export const DATA = 'data';
export const METADATA = 'metadata';

/** Where a table of a catalog lives. */
export function tableLocation(warehouse: string, catalogId: string, table: string): string {
  return join(warehouse, catalogId, table);
}

export async function makeTableDirectory(location: string): Promise<void> {
  await makeDirectory(location);
  await makeDirectory(join(location, DATA));
  await makeDirectory(join(location, METADATA));
}

/** Path of a data file that no other has. */
export function newDataFile(): string {
  return `${DATA}/${randomUUID()}.parquet`;
}

export function newMetadataFile(snapshotId: number): string {
  return `${METADATA}/${snapshotId}-${randomUUID()}.json`;
}

/** Where the output of a task's attempt goes. */
export function taskOutput(processId: number, taskNo: number, attempt: number): string {
  return `${DATA}/process-${processId}-task-${taskNo}-attempt-${attempt}.parquet`;
}

export interface FileOnDisk {
  readonly path: string;
  /** Milliseconds since it was written last, by this machine's clock. */
  readonly ageMs: number;
}

/** Every file below the table's location, whole or partial. */
export async function listTableFiles(location: string): Promise<FileOnDisk[]> {
  const files: FileOnDisk[] = [];
  for (const directory of [DATA, METADATA]) {
    for (const name of await namesIn(join(location, directory))) {
      const found = await statOf(join(location, directory, name));
      if (found?.isFile()) files.push({ path: `${directory}/${name}`, ageMs: Date.now() - found.mtimeMs });
    }
  }
  return files;
}

/** Paths among these that are not there, or not of this size. */
export async function missingFiles(
  location: string,
  files: readonly { readonly path: string; readonly bytes?: number }[],
): Promise<string[]> {
  const missing: string[] = [];
  for (const { path, bytes } of files) {
    const found = await statOf(join(location, path));
    if (found === undefined || (bytes !== undefined && found.size !== bytes)) missing.push(path);
  }
  return missing;
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (isAbsent(error)) return [];
    throw error;
  }
}

async function statOf(path: string) {
  try {
    return await stat(path);
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

function isAbsent(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}
