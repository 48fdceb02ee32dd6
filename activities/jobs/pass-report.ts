/** What one pass over a job's nodes left open, for people (I8), and when the next one is worth making. */
export interface PassReport {
  readonly open: number;
  readonly blockers: readonly string[];
  readonly delayMs: number;
}

const SHORTEST_MS = 10;

/** Gathers what a pass leaves open, node by node. */
export class OpenWork {
  #open = 0;
  #delayMs: number;
  readonly #blockers = new Set<string>();

  constructor(longestDelayMs: number) {
    this.#delayMs = longestDelayMs;
  }

  /** So many more that the job waits for. */
  add(count: number): void {
    this.#open += count;
  }

  /** The next pass is worth making so soon. */
  again(delayMs: number, blocker?: string): void {
    this.#delayMs = Math.min(this.#delayMs, delayMs);
    if (blocker !== undefined) this.#blockers.add(blocker);
  }

  report(): PassReport {
    return {
      open: this.#open,
      blockers: [...this.#blockers],
      delayMs: Math.max(SHORTEST_MS, Math.ceil(this.#delayMs)),
    };
  }
}
