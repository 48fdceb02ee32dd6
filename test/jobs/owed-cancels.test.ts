import { expect, test } from 'vitest';
import {
  type CancelVerdict,
  cancelOperation,
  verdictOfAnswer,
  verdictOfSilence,
  verdictUnasked,
} from '../../activities/jobs/owed-cancels.js';
import type { OwedCancel } from '../../src/catalog/jobs/cancels.js';
import { NodeMismatch, NodeUnreachable, type OperationStatus } from '../../src/engines/nodes.js';

const OWED: OwedCancel = {
  jobId: 'job',
  owner: '00000000-0000-4000-8000-000000000000',
  pipeline: 1,
  taskGroup: 2,
  execution: 7,
  epoch: 8,
  attempt: 3,
  savepoint: false,
  givenUp: false,
  waitMs: 0,
  ageMs: 0,
  lastError: null,
  node: { nodeId: 'node-1', ledgerId: 'ledger', address: 'http://node-1' },
  nodeAlive: true,
  otherLedger: false,
};

test('I9: a cancel is asked for under its own epoch, not under that of the execution', () => {
  expect(cancelOperation('catalog', OWED)).toEqual({
    operationId: 'cancel-task-group/catalog/job/1/2/node-1@8#3',
    epoch: 8,
    location: { catalogId: 'catalog', jobId: 'job', pipeline: 1, taskGroup: 2 },
    change: { verb: 'cancel-task-group', savepoint: false },
  });
});

test('only what is due is asked for: a disk that is gone runs nothing, a cancel that failed has its pause', () => {
  expect(verdictUnasked(OWED)).toBeUndefined();
  expect(verdictUnasked({ ...OWED, otherLedger: true, waitMs: 5 })).toMatchObject({ kind: 'OVER' });
  expect(verdictUnasked({ ...OWED, waitMs: 5, lastError: 'disk full' })).toEqual({
    kind: 'WAIT',
    why: 'disk full',
    blocker: 'node-1 fails to cancel: disk full',
    delayMs: 5,
  });
});

test.each<[string, OperationStatus, Partial<OwedCancel>, Partial<CancelVerdict>]>([
  ['SUCCESS ends the debt', { state: 'SUCCESS', durationMs: 1 }, {}, { kind: 'OVER' }],
  ['I3: FAIL is asked for again', failed(), {}, { kind: 'AGAIN', error: 'IO: disk full' }],
  ['a savepoint that FAILs is not', failed(), { savepoint: true }, { kind: 'OVER', error: 'IO: disk full' }],
  ['what is newer there has ended it', refused('STALE_EPOCH'), {}, { kind: 'OVER' }],
  ['a node that cannot is given up', refused('UNSUPPORTED'), {}, { kind: 'GIVE_UP' }],
  ['a busy node has its pace', refused('RESOURCE_EXHAUSTED'), {}, { kind: 'WAIT', delayMs: 70 }],
  ['I1: what runs is waited for', { state: 'PROCESSING', ageMs: 400, done: 0, total: 1 }, {}, waits(200)],
  ['I1: so is what is not there yet', { state: 'TASK_NOT_EXIST' }, {}, waits(50)],
])('of an answer: %s', (_what, status, changes, verdict) => {
  expect(verdictOfAnswer({ ...OWED, ...changes }, status)).toMatchObject(verdict);
});

test('I1: silence says nothing while the node lives, and gives it up when it has no heartbeat either', () => {
  const silence = new NodeUnreachable('node-1', 'refused', 300);
  expect(verdictOfSilence(OWED, silence)).toMatchObject({ kind: 'WAIT', delayMs: 300 });
  expect(verdictOfSilence(OWED, new NodeMismatch('another one answers'))).toMatchObject({ kind: 'WAIT' });
  expect(verdictOfSilence({ ...OWED, nodeAlive: false }, silence)).toEqual({
    kind: 'GIVE_UP',
    why: 'node-1 is lost: node-1 does not answer: refused',
  });
});

function failed(): OperationStatus {
  return { state: 'FAIL', code: 'IO', message: 'disk full' };
}

function refused(code: 'STALE_EPOCH' | 'UNSUPPORTED' | 'RESOURCE_EXHAUSTED'): OperationStatus {
  return {
    state: 'REFUSED',
    code,
    message: 'no',
    ...(code === 'RESOURCE_EXHAUSTED' && { retryAfterMs: 70 }),
  };
}

function waits(delayMs: number): Partial<CancelVerdict> {
  return { kind: 'WAIT', why: 'the cancel takes too long', delayMs };
}
