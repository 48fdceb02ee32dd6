/** Work that goes on beside everything else, at most one for each key, and can be called off. */
export class Background {
  readonly #work = new Map<string, { readonly abort: AbortController; readonly done: Promise<void> }>();

  constructor(private readonly onError: (key: string, error: unknown) => void) {}

  /** Begins the work; what was under way for the key is called off first. */
  start(key: string, work: (signal: AbortSignal) => Promise<void>): void {
    const before = this.callOff(key);
    const abort = new AbortController();
    const run = async (): Promise<void> => {
      await before;
      try {
        if (!abort.signal.aborted) await work(abort.signal);
      } catch (error) {
        if (!abort.signal.aborted) this.onError(key, error);
      } finally {
        if (this.#work.get(key)?.abort === abort) this.#work.delete(key);
      }
    };
    // Not before it is in the map, from which it takes itself out.
    const entry = { abort, done: Promise.resolve().then(run) };
    this.#work.set(key, entry);
  }

  /** Resolves when nothing is under way for the key any more. */
  async callOff(key: string): Promise<void> {
    const under = this.#work.get(key);
    under?.abort.abort();
    await under?.done;
  }

  /** Calls off everything. */
  async stop(): Promise<void> {
    await Promise.all([...this.#work.keys()].map((key) => this.callOff(key)));
  }
}
