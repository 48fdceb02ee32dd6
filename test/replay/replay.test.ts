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
const BUNDLE = { codePath: fileURLToPath(new URL('../../dist/workflow-bundle.js', import.meta.url)) };
const recorded = readdirSync(HISTORIES).filter((name) => name.endsWith('.json'));

test('every workflow has a recorded history', () => {
  const types = recorded.map((name) => name.split('.')[0]!);
  expect([...new Set(types)].sort()).toEqual(Object.keys(workflows).sort());
});

test.each(recorded)('%s replays on the code of today', async (name) => {
  const history = JSON.parse(readFileSync(`${HISTORIES}/${name}`, 'utf8')) as RecordedHistory;
  const { workflowId } = history.events[0]!.workflowExecutionStartedEventAttributes;
  // A job's workflow refuses to run under another id than its own.
  await Worker.runReplayHistory({ workflowBundle: BUNDLE }, history, workflowId);
});

/** As when tracing is turned on, or another worker with it takes over: a history says nothing of it. */
test.each(recorded)('%s replays the same when its start was traced', async (name) => {
  const history = JSON.parse(readFileSync(`${HISTORIES}/${name}`, 'utf8')) as RecordedHistory;
  const { workflowExecutionStartedEventAttributes: started } = history.events[0]!;
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  started.header = { fields: { '_tracer-data': jsonPayload({ traceparent }) } };
  await Worker.runReplayHistory({ workflowBundle: BUNDLE }, history, started.workflowId);
});

function jsonPayload(value: unknown) {
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  return { metadata: { encoding: base64('json/plain') }, data: base64(JSON.stringify(value)) };
}

interface RecordedHistory {
  readonly events: readonly {
    readonly workflowExecutionStartedEventAttributes: { readonly workflowId: string; header?: unknown };
  }[];
}
