import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Polls until `look` answers something that is neither undefined nor false, and gives that back. Fails after
 * `timeoutMs` with what was last seen wrong: an error of `look` counts as "not yet". What takes long is looked at less often,
 * at most a tenth of a second late: looking costs processor time that others wait for.
 */
export async function eventually<T>(
  what: string,
  look: () => T | undefined | false | Promise<T | undefined | false>,
  timeoutMs = 60_000,
): Promise<T> {
  const began = performance.now();
  const deadline = began + timeoutMs;
  let last: unknown = 'it was not so yet';
  while (performance.now() < deadline) {
    try {
      const seen = await look();
      if (seen !== undefined && seen !== false) return seen;
    } catch (error) {
      last = error;
    }
    await sleep(Math.min(Math.max((performance.now() - began) / 20, 25), 100));
  }
  throw new Error(
    `not within ${timeoutMs} ms: ${what} (${last instanceof Error ? last.message : String(last)})`,
    {
      cause: last,
    },
  );
}
