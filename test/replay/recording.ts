import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { provided } from '../support/provided.js';
import { HISTORIES } from './recorded.js';

const run = promisify(execFile);

/** Writes the history of a workflow to `<name>.json`. */
export async function recordHistory(
  temporalAddress: string,
  workflowId: string,
  name: string,
  /** The newest run by default. */
  runId?: string,
): Promise<void> {
  const { stdout } = await run(provided('temporalBinary'), [
    'workflow',
    'show',
    `--workflow-id=${workflowId}`,
    ...(runId === undefined ? [] : [`--run-id=${runId}`]),
    `--address=${temporalAddress}`,
    '--output=json',
  ]);
  writeFileSync(`${HISTORIES}/${name}.json`, `${JSON.stringify(JSON.parse(stdout), withoutStacks)}\n`);
}

/** Where on which machine a failure came from is nothing to keep. */
function withoutStacks(key: string, value: unknown): unknown {
  return key === 'stackTrace' ? undefined : value;
}
