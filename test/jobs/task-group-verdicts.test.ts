import { expect, test } from 'vitest';
import {
  diskGone,
  type TaskGroupVerdict,
  verdictOfDeployment,
  verdictOfInventory,
  verdictOfSilence,
  withinPatience,
} from '../../activities/jobs/task-group-verdicts.js';
import type { PlacedTaskGroup } from '../../src/catalog/jobs/task-groups.js';
import type { TaskGroupOnNode } from '../../src/engines/jobs.js';
import {
  NodeIncapable,
  NodeMismatch,
  NodeUnreachable,
  type OperationStatus,
} from '../../src/engines/nodes.js';

const PLACED: PlacedTaskGroup = {
  pipeline: 1,
  taskGroup: 2,
  state: 'DEPLOYING',
  attempt: 1,
  rowsIn: 10,
  rowsOut: 5,
  ageMs: 0,
  node: { nodeId: 'node-1', ledgerId: 'ledger', address: 'http://node-1' },
  nodeAlive: true,
  otherLedger: false,
};
const AT = { pipeline: 1, taskGroup: 2 };
const EXECUTION = 7;
const PATIENCE_MS = 1_000;

test.each<[string, OperationStatus, TaskGroupVerdict]>([
  ['SUCCESS starts it', { state: 'SUCCESS', durationMs: 1 }, news({ kind: 'STARTED' })],
  [
    'I3: FAIL loses it, and nothing of it runs',
    { state: 'FAIL', code: 'IO', message: 'disk full' },
    news({ kind: 'LOST', error: 'not started: IO: disk full', owed: false }),
  ],
  [
    'what exists there already is to be ended',
    { state: 'FAIL', code: 'ALREADY_EXISTS', message: 'is there' },
    news({ kind: 'LOST', error: 'not started: ALREADY_EXISTS: is there', owed: true }),
  ],
  ['I1: what is under way is waited for', { state: 'PROCESSING', ageMs: 400, done: 0, total: 1 }, waits(200)],
  ['I1: so is what is not there yet', { state: 'TASK_NOT_EXIST' }, waits(50)],
  ['a busy node has its pace', refused('RESOURCE_EXHAUSTED'), waits(70, 'node-1 is busy: no')],
  [
    'I9: a node that knows a higher epoch says that the catalog is behind',
    refused('STALE_EPOCH'),
    waits(2_000, 'CATALOG_BEHIND: node-1 accepted epoch 9, the job is at 7'),
  ],
  [
    'a node that cannot loses it, and nothing of it runs',
    refused('UNSUPPORTED'),
    news({ kind: 'LOST', error: 'node-1 refused: UNSUPPORTED: no', owed: false }),
  ],
])('of a deployment: %s', (_what, status, verdict) => {
  expect(verdictOfDeployment(PLACED, status, EXECUTION)).toEqual(verdict);
});

test.each<[string, Partial<TaskGroupOnNode> | undefined, TaskGroupVerdict]>([
  ['progress is news', {}, { kind: 'RUNS', news: { ...AT, kind: 'PROGRESS', rowsIn: 20, rowsOut: 8 } }],
  ['what was known is none', { rowsIn: 10, rowsOut: 5 }, { kind: 'RUNS' }],
  [
    'an end is told with its reason',
    { state: 'FAILED', error: 'bad row' },
    news({ kind: 'ENDED', state: 'FAILED', rowsIn: 20, rowsOut: 8, error: 'bad row' }),
  ],
  ['what is not there is lost, and to be ended all the same', undefined, news(notExecuted())],
  ['so is what is there of another execution', { execution: 6 }, news(notExecuted())],
  [
    'a zombie is to be ended, and waited for',
    { idleMs: PATIENCE_MS + 1 },
    {
      kind: 'RUNS',
      news: { ...AT, kind: 'LOST', error: expect.stringContaining('no progress'), owed: true },
    },
  ],
])('of an inventory: %s', (_what, changes, verdict) => {
  const running = { ...AT, execution: EXECUTION, state: 'RUNNING', rowsIn: 20, rowsOut: 8, idleMs: 0 };
  const listed = changes === undefined ? [] : [{ ...running, ...changes } as TaskGroupOnNode];
  const expected = { execution: EXECUTION, progressTimeoutMs: PATIENCE_MS };
  expect(verdictOfInventory(PLACED, listed, expected)).toEqual(verdict);
});

test('of silence: a node that lives is waited for; one without heartbeats is lost, and one that cannot loses it', () => {
  const silent = new NodeUnreachable('node-1', 'DeadlineExceeded', 300);
  expect(verdictOfSilence(PLACED, silent)).toEqual(waits(300, silent.message));
  expect(verdictOfSilence(PLACED, new NodeMismatch('another'))).toEqual(waits(2_000, 'another'));
  expect(verdictOfSilence({ ...PLACED, nodeAlive: false }, silent)).toEqual(
    news({ kind: 'LOST', error: `node-1 is lost: no heartbeat, and ${silent.message}`, owed: true }),
  );
  expect(verdictOfSilence(PLACED, new NodeIncapable('no jobs'))).toEqual(
    news({ kind: 'LOST', error: 'no jobs', owed: true }),
  );
});

test('a deployment that is open for too long is lost, with what blocked it; what runs is waited for', () => {
  const late = { ...PLACED, ageMs: PATIENCE_MS + 1 };
  const verdict = waits(50, 'node-1 is busy');
  expect(withinPatience(PLACED, verdict, PATIENCE_MS)).toBe(verdict);
  expect(withinPatience(late, verdict, PATIENCE_MS)).toEqual(
    news({ kind: 'LOST', error: 'not started within 1000 ms: node-1 is busy', owed: true }),
  );
  expect(withinPatience({ ...late, state: 'RUNNING' }, verdict, PATIENCE_MS)).toBe(verdict);
  const started = verdictOfDeployment(late, { state: 'SUCCESS', durationMs: 1 }, EXECUTION);
  expect(withinPatience(late, started, PATIENCE_MS)).toBe(started);
});

test('what was on a disk that is gone is lost, and nobody is told to end it', () => {
  expect(diskGone(PLACED)).toMatchObject({ ...AT, kind: 'LOST', owed: false });
});

function news(what: object): TaskGroupVerdict {
  return { kind: 'NEWS', news: { ...AT, ...what } } as TaskGroupVerdict;
}

function waits(delayMs: number, blocker?: string): TaskGroupVerdict {
  return { kind: 'WAIT', delayMs, ...(blocker !== undefined && { blocker }) };
}

function notExecuted() {
  return { kind: 'LOST', error: 'RUNNING in the catalog, but node-1 does not execute it', owed: true };
}

function refused(code: 'STALE_EPOCH' | 'RESOURCE_EXHAUSTED' | 'UNSUPPORTED'): OperationStatus {
  return { state: 'REFUSED', code, message: 'no', highestEpoch: 9, retryAfterMs: 70 };
}
