import { CancellationScope, condition } from '@temporalio/workflow';
import { wasCancelled } from '../was-cancelled.js';

export type Stop = 'CANCEL' | 'SAVEPOINT';

/** What operators asked of a running job, and the work that it interrupts. */
export class StopRequest {
  #wanted: Stop | undefined;
  #scope: CancellationScope | undefined;

  /** A plain cancel outranks a savepoint that was asked for before. */
  ask(stop: Stop): void {
    if (this.#wanted === 'CANCEL' || this.#wanted === stop) return;
    this.#wanted = stop;
    this.#scope?.cancel();
  }

  get wanted(): Stop | undefined {
    return this.#wanted;
  }

  /** Runs work that a stop interrupts; undefined when it did. */
  async interruptible<T>(work: () => Promise<T>): Promise<T | undefined> {
    const scope = new CancellationScope();
    this.#scope = scope;
    try {
      return await scope.run(work);
    } catch (error) {
      if (wasCancelled(error)) return undefined;
      throw error;
    } finally {
      this.#scope = undefined;
    }
  }
}

/**
 * Runs work until it ends or `happened`; undefined when it was left because of that. The work is cancelled then, and not
 * waited for.
 */
export async function unless<T>(happened: () => boolean, work: () => Promise<T>): Promise<T | undefined> {
  const scope = new CancellationScope();
  const watch = new CancellationScope();
  try {
    const worked = scope.run(work);
    const interrupted = watch.run(() => condition(happened)).then(() => undefined);
    // Whichever loses is cancelled below, and nobody waits for what it says.
    interrupted.catch(() => {});
    worked.catch(() => {});
    return await Promise.race([worked, interrupted]);
  } finally {
    watch.cancel();
    scope.cancel();
  }
}
