import { setImmediate as nextTurn } from 'node:timers/promises';

/** Synchronous work that may be done in a row before calls get their turn. */
const SLICE_MS = 5;

/** Lets at most `width` tasks work at a time; the others wait in the order in which they came. */
export class Gate {
  #free: number;
  #sliceBegan = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(width: number) {
    this.#free = width;
  }

  async run<T>(task: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      if (performance.now() - this.#sliceBegan > SLICE_MS) {
        await nextTurn();
        this.#sliceBegan = performance.now();
      }
      return await task();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free += 1;
      else next();
    }
  }
}
