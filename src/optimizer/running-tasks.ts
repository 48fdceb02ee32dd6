import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { Logger } from '../log.js';
import { isAlive, ProcessIdentity } from '../process-identity.js';
import { fileNameOf, MergeTask, type TaskKey } from './task.js';

const RunningTask = z.object({
  task: MergeTask,
  /** The optimizer that works on it. */
  process: ProcessIdentity,
  /** Where it writes the output before it is whole; absolute. */
  temporary: z.string(),
});
/** A task that an optimizer began with and has no result of yet. */
export type RunningTask = z.infer<typeof RunningTask>;

/**
 * Markers on disk of what is being worked on, each with the process that does it: a marker whose process is gone tells
 * of a task that was cut short. They need no flush: a machine that lost power has no process that works.
 */
export class RunningTasks {
  constructor(
    private readonly directory: string,
    private readonly log: Logger,
  ) {}

  /** Makes the directory when it is missing; only for the optimizer, the node only reads. */
  open(): void {
    mkdirSync(this.directory, { recursive: true });
  }

  put(running: RunningTask): void {
    const file = join(this.directory, fileNameOf(running.task));
    writeFileSync(`${file}.tmp`, JSON.stringify(running), { mode: 0o600 });
    renameSync(`${file}.tmp`, file);
  }

  remove(key: TaskKey): void {
    rmSync(join(this.directory, fileNameOf(key)), { force: true });
  }

  /** Whether a live process works on it. */
  isRunning(key: TaskKey): boolean {
    const found = this.#read(fileNameOf(key));
    return found !== undefined && isAlive(found.process);
  }

  list(): RunningTask[] {
    let names: string[];
    try {
      names = readdirSync(this.directory);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
    return names.filter((name) => name.endsWith('.json')).flatMap((name) => this.#read(name) ?? []);
  }

  #read(name: string): RunningTask | undefined {
    const file = join(this.directory, name);
    try {
      return RunningTask.parse(JSON.parse(readFileSync(file, 'utf8')));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      this.log.error({ err: error, file }, 'not a marker of an optimizer; left alone');
      return undefined;
    }
  }
}
