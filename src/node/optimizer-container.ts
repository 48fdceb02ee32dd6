import { mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { logTail, openLog } from '../local/log-file.js';
import { messageOf } from '../message-of.js';
import { Outbox } from '../optimizer/outbox.js';
import type { Desired, Occupant, Place } from '../optimizer/place.js';
import { RunningTasks } from '../optimizer/running-tasks.js';
import type { ProcessIdentity } from '../process-identity.js';
import { resourcePath } from '../rules/operation-id.js';
import { type EffectContext, EffectError } from './facility.js';
import type { LeftResults } from './left-results.js';
import type { ResourceKey, ResourceStarted } from './operation.js';
import type { OptimizerPlaces } from './optimizer-places.js';
import {
  endOptimizer,
  type OptimizerProcessOptions,
  type Spawned,
  spawnOptimizer,
} from './optimizer-process.js';
import { Interrupted } from './resource-queues.js';

export interface OptimizerContainerOptions extends OptimizerProcessOptions {
  /** The node's data directory. */
  readonly data: string;
}

/** An optimizer takes a second to get its place; a machine that is so slow is not asked for more. */
const START_TIMEOUT_MS = 30_000;
const LOOK_MS = 20;
/** Exit code of an optimizer whose place is not, or not any more, for it. */
const NOT_WANTED = 4;

/**
 * The `local` container: optimizers as child processes of the node, a directory for each resource. What shall run is on
 * disk before anything is started or ended; who runs is told by the lock in the directory, never by what the node
 * remembers. So a node that was killed at any moment finds its optimizers again, and never has two for one resource.
 */
export class OptimizerContainer {
  readonly #trash: string;
  /** The last piece of work on each resource; the next one comes after it. */
  readonly #tails = new Map<string, Promise<unknown>>();
  /** The last child of each resource, which perhaps is not in its place yet. */
  readonly #spawned = new Map<string, ProcessIdentity>();
  readonly #stopping = new AbortController();

  constructor(
    private readonly places: OptimizerPlaces,
    private readonly leftResults: LeftResults,
    private readonly options: OptimizerContainerOptions,
  ) {
    this.#trash = join(options.data, 'resources-trash');
  }

  /**
   * Has a process of this launch in the place of the resource: the one that works there already when it was started just
   * so, else a new one, after the one of an older launch is gone. Outbox and markers stay.
   *
   * @throws EffectError, or the reason of the signal; no process of this launch runs then
   */
  async start(key: ResourceKey, desired: Desired, context: EffectContext): Promise<ResourceStarted> {
    return this.#inTurn(key, async () => {
      const place = this.places.of(key);
      const before = place.desired();
      const signal = context.signal;
      try {
        signal.throwIfAborted();
        const occupant = place.occupant();
        if (this.#isAsDesired(occupant, desired) && isDeepStrictEqual(before, desired)) {
          return startedFrom(occupant, place, desired);
        }
        place.want(desired);
        const started = await this.#fill(key, place, desired, signal, () => context.midway());
        return startedFrom(started, place, desired);
      } catch (error) {
        if (error instanceof Interrupted && error.by === 'STOPPING') throw error;
        await this.#undo(key, place, desired, before === undefined);
        if (error instanceof Interrupted || error instanceof EffectError) throw error;
        const reason = messageOf(error);
        throw new EffectError('IO', `cannot start an optimizer in ${place.directory}: ${reason}`, {
          cause: error,
        });
      }
    });
  }

  /**
   * Ends the process of the resource and removes its directory, after what is in its outbox was handed in. Done as well when there is none.
   *
   * @throws EffectError, or the reason of the signal; a new attempt goes on
   */
  async release(key: ResourceKey, context: EffectContext): Promise<void> {
    await this.#inTurn(key, async () => {
      try {
        await this.#remove(key, this.places.of(key), () => context.midway());
      } catch (error) {
        if (error instanceof Interrupted) throw error;
        const reason = messageOf(error);
        throw new EffectError('IO', `cannot release ${resourcePath(key)}: ${reason}`, { cause: error });
      }
    });
  }

  /**
   * Takes over the processes that a node before this one had started, and starts (in the background) those that shall run
   * and do not. What an operation that is resumed will see to is left to it.
   */
  recover(isPending: (key: ResourceKey) => boolean): { adopted: number; started: number } {
    rmSync(this.#trash, { recursive: true, force: true });
    let adopted = 0;
    let started = 0;
    for (const key of this.places.list()) {
      if (isPending(key)) continue;
      const place = this.places.of(key);
      const desired = this.#desiredIn(place);
      if (desired === undefined) continue;
      if (desired.wanted && this.#isAsDesired(place.occupant(), desired)) {
        adopted += 1;
        continue;
      }
      if (desired.wanted) started += 1;
      void this.#inTurn(key, async () => {
        const { signal } = this.#stopping;
        if (signal.aborted || !isDeepStrictEqual(place.desired(), desired)) return;
        if (desired.wanted) await this.#fill(key, place, desired, signal);
        else await this.#empty(place);
      }).catch((error: unknown) => {
        if (this.#stopping.signal.aborted) return;
        this.options.log.error({ ...key, err: error }, 'cannot start the optimizer again');
      });
    }
    return { adopted, started };
  }

  /** Ends all processes; those that are wanted are started again by the next node. */
  async stop(): Promise<void> {
    this.#stopping.abort(new Interrupted('STOPPING'));
    const occupants = this.places.list().flatMap((key) => this.places.of(key).occupant() ?? []);
    await Promise.all([...occupants, ...this.#spawned.values()].map(endOptimizer));
    this.leftResults.close();
  }

  /** Whether this process is the one that shall work there, and speaks to the right coordinator. */
  #isAsDesired(occupant: ProcessIdentity | Occupant | undefined, desired: Desired): occupant is Occupant {
    return (
      occupant !== undefined &&
      'launch' in occupant &&
      occupant.launch === desired.launch &&
      occupant.coordinator === this.options.coordinator
    );
  }

  /** Resolves when a process of the desired launch has the place. */
  async #fill(
    key: ResourceKey,
    place: Place,
    desired: Desired,
    signal: AbortSignal,
    midway?: () => Promise<void>,
  ): Promise<Occupant> {
    const deadline = performance.now() + START_TIMEOUT_MS;
    for (let attempt = 1; ; attempt++) {
      await this.#empty(place);
      const log = await openLog(place.log);
      signal.throwIfAborted();
      const child = spawnOptimizer(key, place, desired, log, this.options);
      this.#remember(key, child);
      if (attempt === 1) await midway?.();
      const occupant = await this.#untilOccupied(place, desired, child, signal, deadline);
      if (occupant !== undefined) return occupant;
      // Another one had the place, left by a node that was killed: of an older launch, or of this one.
      const other = place.occupant();
      if (this.#isAsDesired(other, desired)) return other;
      if (performance.now() > deadline) {
        throw new EffectError('INTERNAL', `the place of the optimizer stays taken: ${place.directory}`);
      }
    }
  }

  /** Undefined when the child found the place taken, or was not wanted. */
  async #untilOccupied(
    place: Place,
    desired: Desired,
    { exited }: Spawned,
    signal: AbortSignal,
    deadline: number,
  ): Promise<Occupant | undefined> {
    let exit: Awaited<typeof exited> | undefined;
    void exited.then((end) => {
      exit = end;
    });
    for (;;) {
      const occupant = place.occupant();
      if (this.#isAsDesired(occupant, desired)) return occupant;
      if (exit?.code === NOT_WANTED) return undefined;
      if (exit !== undefined) {
        const end = exit.signal ?? `code ${exit.code}`;
        throw new EffectError('INTERNAL', `the optimizer ended at once (${end}): ${exit.lastWords}`);
      }
      if (performance.now() > deadline) {
        const lastWords = logTail(place.log, 3);
        throw new EffectError('INTERNAL', `the optimizer did not start in time: ${lastWords}`);
      }
      await pause(LOOK_MS, undefined, { signal }).catch(() => undefined);
      signal.throwIfAborted();
    }
  }

  /** Ends whoever has the place. */
  async #empty(place: Place): Promise<void> {
    for (let occupant = place.occupant(); occupant !== undefined; occupant = place.occupant()) {
      await endOptimizer(occupant);
    }
  }

  #remember(key: ResourceKey, { identity, exited }: Spawned): void {
    if (identity === undefined) return;
    const name = resourcePath(key);
    this.#spawned.set(name, identity);
    void exited.then(() => {
      if (this.#spawned.get(name) === identity) this.#spawned.delete(name);
    });
  }

  /** After a start that failed or was canceled: nothing of it runs, and nothing is left when nothing was there before. */
  async #undo(key: ResourceKey, place: Place, desired: Desired, wasNew: boolean): Promise<void> {
    place.want({ ...desired, wanted: false });
    const child = this.#spawned.get(resourcePath(key));
    if (child !== undefined) await endOptimizer(child);
    if (wasNew) await this.#remove(key, place);
    else await this.#empty(place);
  }

  async #remove(key: ResourceKey, place: Place, midway?: () => Promise<void>): Promise<void> {
    const desired = this.#desiredIn(place);
    // Who got the place by now, or gets it yet, sees that it shall not work there.
    if (desired !== undefined) place.want({ ...desired, wanted: false });
    await this.#empty(place);
    await this.leftResults.handIn(key.resourceId, new Outbox(place.outbox, this.options.log));
    await midway?.();
    for (const { temporary } of new RunningTasks(place.running, this.options.log).list()) {
      if (temporary !== '') rmSync(temporary, { force: true });
    }
    mkdirSync(this.#trash, { recursive: true });
    const trash = join(this.#trash, `${key.catalogId}.${key.resourceId}.${readdirSync(this.#trash).length}`);
    try {
      renameSync(place.directory, trash);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      throw error;
    }
    await rm(trash, { recursive: true, force: true, maxRetries: 10 });
  }

  /** A file that nobody can read is as good as none: the process that belongs to it is found by its lock. */
  #desiredIn(place: Place): Desired | undefined {
    try {
      return place.desired();
    } catch (error) {
      this.options.log.error({ err: error, directory: place.directory }, 'resource.json cannot be read');
      return undefined;
    }
  }

  async #inTurn<T>(key: ResourceKey, work: () => Promise<T>): Promise<T> {
    const name = resourcePath(key);
    const turn = (this.#tails.get(name) ?? Promise.resolve()).then(work, work);
    const tail = turn.catch(() => undefined);
    this.#tails.set(name, tail);
    try {
      return await turn;
    } finally {
      if (this.#tails.get(name) === tail) this.#tails.delete(name);
    }
  }
}

/** `<pid>@<start>` */
export function processIdOf({ pid, startedAt }: ProcessIdentity): string {
  return `${pid}@${startedAt}`;
}

function startedFrom(occupant: Occupant, place: Place, { threads, memoryMb }: Desired): ResourceStarted {
  return { processId: processIdOf(occupant), threads, memoryMb, properties: { log: place.log } };
}
