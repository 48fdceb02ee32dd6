import { access, mkdir, open, readdir, rename, rm, rmdir, stat } from 'node:fs/promises';
import { dirname, isAbsolute, join, normalize } from 'node:path';
import type { TaskGroupLocation } from '../../rules/operation-id.js';
import type { Part } from '../operation.js';

/** Below every sink: what is staged and not yet published. */
const ROOM = '.staging';

/** What the files of a location start with; the same in every execution. */
function nameOf({ catalogId, jobId, pipeline, taskGroup }: TaskGroupLocation): string {
  return `${catalogId.slice(0, 8)}.${jobId}.${pipeline}-${taskGroup}.e`;
}

/** Where an execution stages its parts, relative to the sink. */
export function stagingOf(location: TaskGroupLocation, execution: number): string {
  return join(ROOM, `${nameOf(location)}${execution}`);
}

/** What the published parts of an execution start with. */
export function partPrefix(location: TaskGroupLocation, execution: number): string {
  return `part.${nameOf(location)}${execution}`;
}

/** A part of a committed checkpoint is gone. */
export class PartLost extends Error {
  override readonly name = 'PartLost';
}

/** Makes the sink and the place where the execution stages, empty. */
export async function prepareStaging(
  directory: string,
  location: TaskGroupLocation,
  execution: number,
): Promise<void> {
  const path = join(directory, stagingOf(location, execution));
  await rm(path, { recursive: true, force: true });
  // Another task group that ends may take the empty room away in between.
  for (let attempt = 1; ; attempt += 1) {
    try {
      await mkdir(path, { recursive: true });
      break;
    } catch (error) {
      if (attempt === 10 || (error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  await access(directory, 2 /* W_OK */);
  await syncDirectory(directory);
}

/** Throws away what the execution has staged. */
export async function discardStaging(
  directory: string,
  location: TaskGroupLocation,
  execution: number,
): Promise<void> {
  await rm(join(directory, stagingOf(location, execution)), { recursive: true, force: true });
  await leaveRoom(directory);
}

/** Throws away what lower executions of the location have staged, wherever they ran. */
export async function discardLower(
  directory: string,
  location: TaskGroupLocation,
  execution: number,
): Promise<void> {
  const names = await readdir(join(directory, ROOM)).catch(() => []);
  const start = nameOf(location);
  for (const name of names) {
    const number = name.startsWith(start) ? name.slice(start.length) : '';
    if (!/^\d+$/.test(number) || Number(number) >= execution) continue;
    await rm(join(directory, ROOM, name), { recursive: true, force: true });
  }
}

/**
 * Publishes parts: each appears under its final name as a whole, on disk when this resolves. Those that are published
 * already are fine. Throws for one that is neither staged nor published, or whose path leaves the sink.
 */
export async function publishParts(directory: string, parts: readonly Part[]): Promise<void> {
  for (const part of parts) {
    await publish(inside(directory, part.staged), inside(directory, part.published), part);
  }
  if (parts.length > 0) await syncDirectory(directory);
}

/** Has the names of what was staged on disk. */
export async function syncStaging(directory: string, parts: readonly Part[]): Promise<void> {
  const places = new Set(parts.map(({ staged }) => dirname(inside(directory, staged))));
  for (const place of places) {
    await syncDirectory(place);
    await syncDirectory(dirname(place));
  }
}

async function publish(from: string, to: string, part: Part): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    const published = await stat(to).catch(() => undefined);
    if (published === undefined) throw new PartLost(`part ${to} is neither staged nor published`);
    if (published.size !== part.bytes) {
      throw new PartLost(`part ${to} has ${published.size} bytes, its checkpoint says ${part.bytes}`);
    }
  }
}

function inside(directory: string, path: string): string {
  if (path === '' || isAbsolute(path) || normalize(path).split('/').includes('..')) {
    throw new Error(`part ${JSON.stringify(path)} of the checkpoint is not below the sink's directory`);
  }
  return join(directory, path);
}

/** Removes the room when nobody stages anything in it. */
async function leaveRoom(directory: string): Promise<void> {
  await rmdir(join(directory, ROOM)).catch(() => undefined);
}

async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
