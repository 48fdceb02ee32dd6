import { StewardError } from './errors.js';

/** What a guard of `src/rules/input.ts` answers; throws StewardError INVALID_INPUT when it refuses (I10). */
export function valid<T>(guard: () => T): T {
  try {
    return guard();
  } catch (error) {
    throw StewardError.from(error);
  }
}
