import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { writeWhole } from './whole-files.js';

const dataFile = z.object({ path: z.string(), rows: z.number().int(), bytes: z.number().int() });
const snapshotFile = z.object({
  table: z.string(),
  snapshotId: z.number().int(),
  /** 0 for the first one. */
  parent: z.number().int(),
  /** The optimizing process, or the ingestion, that made it. */
  process: z.number().int().optional(),
  request: z.string().optional(),
  columns: z.array(z.object({ name: z.string(), type: z.string() })),
  /** All files of the table. */
  files: z.array(dataFile),
});

/** A snapshot as it stands in its file: the whole table at one moment. */
export type SnapshotFile = z.infer<typeof snapshotFile>;

/** Writes it whole or not at all. */
export async function writeSnapshotFile(
  location: string,
  path: string,
  snapshot: SnapshotFile,
): Promise<void> {
  await writeWhole(join(location, path), `${JSON.stringify(snapshot)}\n`);
}

export async function readSnapshotFile(location: string, path: string): Promise<SnapshotFile> {
  const found = await findSnapshotFile(location, path);
  if (found === undefined) throw new Error(`snapshot ${join(location, path)} is gone`);
  return found;
}

/** Undefined: there is no such file. */
export async function findSnapshotFile(location: string, path: string): Promise<SnapshotFile | undefined> {
  const file = join(location, path);
  try {
    return snapshotFile.parse(JSON.parse(await readFile(file, 'utf8')));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new Error(`snapshot ${file} cannot be read`, { cause });
  }
}
