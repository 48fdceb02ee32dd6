import { inject } from 'vitest';
import './global-setup.js';

/** What the global set-up made for this run; throws its reason when it could not. */
export function provided(name: 'postgres' | 'temporalBinary'): string {
  const found = inject(name);
  if ('problem' in found) throw new Error(found.problem);
  return found.value;
}
