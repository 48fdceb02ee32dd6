import { join } from 'node:path';
import { projectRoot } from '../project.js';
import type { Payloads } from '../temporal/payloads.js';

/** Where the build puts the workflows: those whose payloads are encrypted have failures that can be, too. */
export function workflowBundle({ encrypts }: Pick<Payloads, 'encrypts'>): string {
  return join(projectRoot, 'dist', encrypts ? 'workflow-bundle-encrypting.js' : 'workflow-bundle.js');
}
