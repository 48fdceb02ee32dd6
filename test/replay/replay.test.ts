import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Worker } from '@temporalio/worker';
import { expect, test } from 'vitest';
import * as workflows from '../../workflows/index.js';
import { HISTORIES } from './recorded.js';

/**
 * Histories that older code wrote, replayed on today's. One that fails means that running workflows would break at the next
 * deployment: keep the old path with `patched` (and record a history of the new one beside it).
 */
const recorded = readdirSync(HISTORIES).filter((name) => name.endsWith('.json'));

test('every workflow has a recorded history', () => {
  const types = recorded.map((name) => name.split('.')[0]!);
  expect([...new Set(types)].sort()).toEqual(Object.keys(workflows).sort());
});

test.each(recorded)('%s replays on the code of today', async (name) => {
  const history = JSON.parse(readFileSync(`${HISTORIES}/${name}`, 'utf8')) as RecordedHistory;
  const bundle = { codePath: fileURLToPath(new URL('../../dist/workflow-bundle.js', import.meta.url)) };
  const { workflowId } = history.events[0]!.workflowExecutionStartedEventAttributes;
  // A job's workflow refuses to run under another id than its own.
  await Worker.runReplayHistory({ workflowBundle: bundle }, history, workflowId);
});

interface RecordedHistory {
  readonly events: readonly {
    readonly workflowExecutionStartedEventAttributes: { readonly workflowId: string };
  }[];
}
