import { mkdir, open, rename, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Ends the name of what is not whole yet. */
export const PARTIAL = '.partial';

/** Writes a file whole or not at all: under a partial name, synced, then renamed. A crash leaves the partial file. */
export async function writeWhole(path: string, content: string): Promise<void> {
  const partial = path + PARTIAL;
  const file = await open(partial, 'w');
  try {
    await file.writeFile(content);
  } finally {
    await file.close();
  }
  await makeWhole(partial, path);
}

/** Syncs what was written under a partial name, and gives it its name. Answers its size in bytes. */
export async function makeWhole(partial: string, path: string): Promise<number> {
  const bytes = await sync(partial, true);
  await rename(partial, path);
  await sync(dirname(path));
  return bytes;
}

export async function makeDirectory(path: string): Promise<void> {
  await mkdir(path, { recursive: true });
  await sync(dirname(path));
}

/** Removes a file; one that is gone already is fine. */
export async function removeFile(path: string): Promise<void> {
  await unlink(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
}

async function sync(path: string, measure = false): Promise<number> {
  const file = await open(path, 'r');
  try {
    await file.sync();
    return measure ? (await file.stat()).size : 0;
  } finally {
    await file.close();
  }
}
