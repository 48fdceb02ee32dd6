import { setTimeout as sleep } from 'node:timers/promises';
import type { StewardClient } from '../../client/index.js';
import type { RunningStack } from '../../local/commands.js';

/** What every part of the tour works with. */
export interface Tour {
  readonly client: StewardClient;
  readonly stack: RunningStack;
  /** One line of progress. */
  readonly say: (line: string) => void;
}

/** What became of one system: its section of the status page. */
export interface Part {
  readonly title: string;
  /** Each one thing that happened. */
  readonly happened: readonly string[];
  /** What is there now. */
  readonly state?: string;
  /** Commands that show more. */
  readonly look: readonly string[];
}

const LOOK_EVERY_MS = 200;

/** Looks until there is an answer. @throws Error naming what did not come in time */
export async function until<T>(
  what: string,
  look: () => Promise<T | undefined | false>,
  withinMs: number,
): Promise<T> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > deadline) throw new Error(`waited in vain for this: ${what}`);
    await sleep(LOOK_EVERY_MS);
  }
}
