/**
 * What was told lately, by key, for gauges of what only a workflow knows: it is told again as long as it is so, by
 * whichever worker has the next turn, and forgotten when it was not.
 */
export class RecentFacts<T> {
  readonly #facts = new Map<string, { readonly fact: T; readonly until: number }>();

  constructor(private readonly now: () => number = () => performance.now()) {}

  tell(key: string, fact: T, keptMs: number): void {
    this.#facts.set(key, { fact, until: this.now() + keptMs });
  }

  forget(key: string): void {
    this.#facts.delete(key);
  }

  all(): T[] {
    for (const [key, { until }] of this.#facts) if (until <= this.now()) this.#facts.delete(key);
    return [...this.#facts.values()].map(({ fact }) => fact);
  }
}
