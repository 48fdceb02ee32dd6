import type { Check } from './check.js';
import { checksNamed } from './registry.js';

/**
 * Reads a list of checks that are known to fail: one name of a check or a group on each line; what follows a `#` and
 * empty lines say nothing. Throws UnknownCheck.
 */
export function readKnownFailing(text: string): readonly Check[] {
  const names = text
    .split('\n')
    .map((line) => line.replace(/#.*$/, '').trim())
    .filter((line) => line !== '');
  return checksNamed(names);
}
