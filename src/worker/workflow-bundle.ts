import { fileURLToPath } from 'node:url';
import type { Payloads } from '../temporal/payloads.js';

/** Where the build puts the workflows: those whose payloads are encrypted have failures that can be, too. */
export function workflowBundle({ encrypts }: Pick<Payloads, 'encrypts'>): string {
  const name = encrypts ? 'workflow-bundle-encrypting.js' : 'workflow-bundle.js';
  return fileURLToPath(new URL(`../../${name}`, import.meta.url));
}
