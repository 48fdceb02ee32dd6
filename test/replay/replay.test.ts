import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Worker } from '@temporalio/worker';
import { DeterminismViolationError } from '@temporalio/workflow';
import { expect, test } from 'vitest';
import * as workflows from '../../workflows/index.js';
import { HISTORIES } from './recorded.js';

/**
 * Histories that older code wrote, replayed on today's. One that fails means that running workflows would break at the next
 * deployment: keep the old path with `patched` (and record a history of the new one beside it).
 */
const BUNDLE = { codePath: fileURLToPath(new URL('../../dist/workflow-bundle.js', import.meta.url)) };
const recorded = readdirSync(HISTORIES).filter((name) => name.endsWith('.json'));

test('every workflow has a recorded history of its happy path, and of another one', () => {
  const types = recorded.map((name) => name.split('.')[0]!);
  expect([...new Set(types)].sort()).toEqual(Object.keys(workflows).sort());
  const once = types.filter((type, at) => types.indexOf(type) === at && types.lastIndexOf(type) === at);
  expect(once, 'record how it fails, is cancelled, or finds nothing to do').toEqual([]);
});

test.each(recorded)('%s replays on the code of today', async (name) => {
  await replay(name, read(name));
});

/** As when tracing is turned on, or another worker with it takes over: a history says nothing of it. */
test.each(recorded)('%s replays the same when its start was traced', async (name) => {
  const history = read(name);
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  startOf(history).header = { fields: { '_tracer-data': jsonPayload({ traceparent }) } };
  await replay(name, history);
});

async function replay(name: string, history: RecordedHistory): Promise<void> {
  try {
    // A job's workflow refuses to run under another id than its own.
    await Worker.runReplayHistory({ workflowBundle: BUNDLE }, history, startOf(history).workflowId);
  } catch (error) {
    if (!(error instanceof DeterminismViolationError)) throw error;
    throw new Error(whatToDo(name, error.message), { cause: error });
  }
}

function read(name: string): RecordedHistory {
  return JSON.parse(readFileSync(`${HISTORIES}/${name}`, 'utf8')) as RecordedHistory;
}

function startOf(history: RecordedHistory) {
  return history.events[0]!.workflowExecutionStartedEventAttributes;
}

function jsonPayload(value: unknown) {
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  return { metadata: { encoding: base64('json/plain') }, data: base64(JSON.stringify(value)) };
}

/** For whoever changed a workflow and has not read any of this. */
function whatToDo(name: string, reason: string): string {
  const [type = '', path = ''] = name.split('.');
  return [
    `${type} does not do any more what it had done when ${name} was recorded (${path}).`,
    `Workflows that run would stop at this point when this code is deployed: ${reason}`,
    '',
    'Keep the old path for them, and take the new one only where nothing was recorded yet:',
    '',
    "  import { patched } from '@temporalio/workflow';",
    "  if (patched('what-changed')) { /* the new path */ } else { /* as it was */ }",
    '',
    'Then record a history of the new path beside this one (never instead of it):',
    '  RECORD_HISTORIES=1 npx vitest run test/replay/record',
    'docs/production.md, "Upgrade", says when the old path may go.',
  ].join('\n');
}

interface RecordedHistory {
  readonly events: readonly {
    readonly workflowExecutionStartedEventAttributes: { readonly workflowId: string; header?: unknown };
  }[];
}
