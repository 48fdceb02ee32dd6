import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { z } from 'zod';
import { flushPath, writeDurably } from '../durable-file.js';
import type { Logger } from '../log.js';
import type { CompleteTaskRequestSchema } from '../rpc/gen/steward/coordinator/v1/optimizing_pb.js';
import {
  fileNameOf,
  MergeTask,
  resultMessage,
  type TaskKey,
  TaskKey as TaskKeySchema,
  TaskResult,
} from './task.js';

const OutboxEntry = TaskKeySchema.extend({ location: MergeTask.shape.location, result: TaskResult });
/** A result that the coordinator has not acknowledged. */
export type OutboxEntry = z.infer<typeof OutboxEntry>;

export type Completion = MessageInitShape<typeof CompleteTaskRequestSchema>;

/** How the coordinator is told a result in the name of a resource whose optimizer has no token any more. */
export function completionOf(resourceId: string, { taskId, attempt, result }: OutboxEntry): Completion {
  return { resourceId, taskId, attempt, result: resultMessage(result) };
}

/**
 * Results on disk, a file for each attempt of a task, from before the coordinator hears of them until it has answered.
 * They outlive the process; the node reads them when it is asked for a task's result.
 */
export class Outbox {
  constructor(
    private readonly directory: string,
    private readonly log: Logger,
  ) {}

  /** Makes the directory when it is missing; only for the optimizer, the node only reads. */
  open(): void {
    mkdirSync(this.directory, { recursive: true });
  }

  /** Keeps a result; on disk when it returns. */
  put(entry: OutboxEntry): void {
    writeDurably(join(this.directory, fileNameOf(entry)), JSON.stringify(entry));
  }

  find(key: TaskKey): OutboxEntry | undefined {
    return this.#read(fileNameOf(key));
  }

  /** Forgets a result. */
  remove(key: TaskKey): void {
    rmSync(join(this.directory, fileNameOf(key)), { force: true });
    flushPath(this.directory);
  }

  /** All results, in the order of their names. */
  list(): OutboxEntry[] {
    return this.#names().flatMap((name) => this.#read(name) ?? []);
  }

  get size(): number {
    return this.#names().length;
  }

  #names(): string[] {
    try {
      return readdirSync(this.directory)
        .filter((name) => name.endsWith('.json'))
        .sort();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
  }

  /** One that cannot be read was not written by an optimizer: it is told and left where it is. */
  #read(name: string): OutboxEntry | undefined {
    const file = join(this.directory, name);
    try {
      return OutboxEntry.parse(JSON.parse(readFileSync(file, 'utf8')));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      this.log.error({ err: error, file }, 'not a result of an optimizer; left alone');
      return undefined;
    }
  }
}
