import { mkdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { writeDurably } from '../durable-file.js';
import { lockHolder, tryLock } from '../local/lock.js';
import { identityOf, ProcessIdentity } from '../process-identity.js';

export const Desired = z.object({
  /** Launch of the resource: its epoch. */
  launch: z.number().int().positive(),
  group: z.string(),
  threads: z.number().int().positive(),
  memoryMb: z.number().int().positive(),
  properties: z.record(z.string(), z.string()),
  /** False: no process shall work here (any more). */
  wanted: z.boolean(),
});
/** What shall run in a place, as the node wrote it down before it started anything. */
export type Desired = z.infer<typeof Desired>;

const Occupant = ProcessIdentity.extend({ launch: z.number().int().nonnegative(), coordinator: z.string() });
/** The process that works in a place, or did. */
export type Occupant = z.infer<typeof Occupant>;

/** The place is not for this process; the message says why. */
export class PlaceRefused extends Error {
  override readonly name = 'PlaceRefused';
}

/**
 * The directory of one optimizer resource:
 *
 * ```
 * resource.json    what shall run here; written by the node before it starts or ends a process
 * process.json     the process that works here, or did last; written by that process
 * lock/            held by the process that works here: there is one at a time, whoever started it
 * outbox/          results that the coordinator has not acknowledged
 * running/         tasks that were begun
 * tmp/             what merges spill
 * optimizer.log
 * ```
 *
 * A process works here only while it holds the lock *and* resource.json wants its launch, which it looks at after it got
 * the lock and again and again. So whatever a node that was killed had started comes to nothing by itself when something
 * else is wanted by then.
 */
export class Place {
  readonly outbox: string;
  readonly running: string;
  readonly spill: string;
  readonly log: string;
  readonly #resource: string;
  readonly #process: string;
  readonly #lock: string;

  constructor(readonly directory: string) {
    this.outbox = join(directory, 'outbox');
    this.running = join(directory, 'running');
    this.spill = join(directory, 'tmp');
    this.log = join(directory, 'optimizer.log');
    this.#resource = join(directory, 'resource.json');
    this.#process = join(directory, 'process.json');
    this.#lock = join(directory, 'lock');
  }

  /** What shall run here; undefined when nobody ever said. */
  desired(): Desired | undefined {
    return read(this.#resource, Desired);
  }

  /** Says what shall run here; on disk when it returns. */
  want(desired: Desired): void {
    mkdirSync(this.directory, { recursive: true });
    writeDurably(this.#resource, JSON.stringify(desired));
  }

  /** Whether a process of this launch may work here. An optimizer that no node started (launch 0) may anywhere. */
  wants(launch: number): boolean {
    if (launch === 0) return true;
    const desired = this.desired();
    return desired?.wanted === true && desired.launch === launch;
  }

  /** The process that was the last to work here. */
  lastOccupant(): Occupant | undefined {
    return read(this.#process, Occupant);
  }

  /** The live process that has the place; without a launch while it has not said more than that it is there. */
  occupant(): ProcessIdentity | Occupant | undefined {
    const holder = lockHolder(this.#lock);
    if (holder === undefined) return undefined;
    const last = this.lastOccupant();
    return last?.pid === holder.pid && last.startedAt === holder.startedAt ? last : holder;
  }

  /**
   * Makes this process the one that works here, until it ends.
   *
   * @throws PlaceRefused
   */
  async occupy(launch: number, coordinator: string): Promise<ProcessIdentity> {
    const self = identityOf(process.pid);
    if (self === undefined) throw new Error(`the start time of process ${process.pid} cannot be read`);
    if (launch === 0) mkdirSync(this.directory, { recursive: true });
    if (!this.wants(launch)) throw new PlaceRefused(`launch ${launch} is not wanted in ${this.directory}`);
    const result = await tryLock(this.#lock);
    if (!result.held) throw new PlaceRefused(`process ${result.holder.pid} works in ${this.directory}`);
    if (!this.wants(launch)) {
      await result.lock.release();
      removeEmpty(this.#lock, this.directory);
      throw new PlaceRefused(`launch ${launch} is not wanted any more in ${this.directory}`);
    }
    writeDurably(this.#process, JSON.stringify({ ...self, launch, coordinator } satisfies Occupant));
    return self;
  }
}

function read<T>(file: string, schema: z.ZodType<T>): T | undefined {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  return schema.parse(JSON.parse(text));
}

/** Taking the lock makes its directory, also where the place was removed meanwhile. */
function removeEmpty(...directories: readonly string[]): void {
  try {
    for (const directory of directories) rmdirSync(directory);
  } catch {
    // Something is in it: the place is there.
  }
}
