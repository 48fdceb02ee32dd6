import type { Catalog } from '../catalog/catalog.js';
import { settleProcess } from '../catalog/optimizing/settling.js';
import { findProcess } from '../catalog/optimizing/tables.js';
import type { Logger } from '../log.js';
import type { ProcessRef } from '../rules/words.js';
import type { CommitStarter } from './commit-starter.js';

/**
 * What follows a recorded completion, beside the call that is answered already: T2, then commitTable. One at a time for
 * each process, and once more when it was asked for meanwhile. What fails is one WARN; healStuckCommits sees to it.
 */
export class Settler {
  readonly #running = new Map<number, { again: boolean; readonly done: Promise<void> }>();

  constructor(
    private readonly catalog: Catalog,
    private readonly commits: Pick<CommitStarter, 'start'>,
    private readonly log: Logger,
  ) {}

  settle(processId: number): void {
    const running = this.#running.get(processId);
    if (running !== undefined) {
      running.again = true;
      return;
    }
    const started = { again: false, done: Promise.resolve() };
    this.#running.set(processId, started);
    started.done = this.#run(processId, started);
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    await Promise.all([...this.#running.values()].map(({ done }) => done));
  }

  async #run(processId: number, own: { again: boolean }): Promise<void> {
    do {
      own.again = false;
      await this.#settleOnce(processId);
    } while (own.again);
    this.#running.delete(processId);
  }

  async #settleOnce(processId: number): Promise<void> {
    let ref: ProcessRef | undefined;
    try {
      const verdict = await settleProcess(this.catalog, processId);
      if (verdict.kind === 'UNKNOWN') return;
      ref = verdict;
      const named = { table: ref.table, process: processId };
      if (verdict.kind === 'FAILED') this.log.warn({ ...named, reason: verdict.reason }, 'process failed');
      if (verdict.kind === 'UNLIKE') this.log.warn({ ...named, reason: verdict.reason }, 'states unlike');
      if (verdict.kind !== 'COMMITTING') return;
      if (verdict.began) this.log.info(named, 'committing');
    } catch (error) {
      ref = await findProcess(this.catalog, processId).catch(() => undefined);
      this.#warn('settling failed', processId, ref, error);
      return;
    }
    try {
      await this.commits.start(ref);
    } catch (error) {
      this.#warn('commitTable was not started', processId, ref, error);
    }
  }

  #warn(what: string, processId: number, ref: ProcessRef | undefined, error: unknown): void {
    this.log.warn({ table: ref?.table, process: processId, cause: told(error) }, what);
  }
}

/** Its message, and those of its causes. */
function told(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : `${error.message}: ${told(error.cause)}`;
}
