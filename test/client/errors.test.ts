import { Code, ConnectError } from '@connectrpc/connect';
import { ServiceError } from '@temporalio/client';
import { ActivityFailure, ApplicationFailure, RetryState } from '@temporalio/common';
import { expect, test } from 'vitest';
import { StewardError, type StewardErrorCode } from '../../src/client/index.js';
import { InvalidInput } from '../../src/rules/input.js';
import type { Holder } from '../../src/rules/words.js';

const HOLDER: Holder = {
  workflowId: 'region-group/7/remove',
  firstRunId: 'run',
  workflowType: 'removeRegionGroups',
  actor: 'ann',
  since: '2026-01-01T00:00:00.000Z',
};

test('an error of ours stays what it is', () => {
  const error = new StewardError('HELD', 'held', { holder: HOLDER });
  expect(StewardError.from(error)).toBe(error);
  expect(JSON.parse(JSON.stringify(error))).toEqual({ code: 'HELD', message: 'held', holder: HOLDER });
});

test('a guard of the rules becomes INVALID_INPUT with its field', () => {
  expect(StewardError.from(new InvalidInput('groups', 'expected 1'))).toMatchObject({
    code: 'INVALID_INPUT',
    message: 'groups: expected 1',
    details: { field: 'groups' },
  });
});

test.each<[Code, StewardErrorCode]>([
  [Code.InvalidArgument, 'INVALID_INPUT'],
  [Code.NotFound, 'NOT_FOUND'],
  [Code.AlreadyExists, 'ALREADY_EXISTS'],
  [Code.FailedPrecondition, 'REJECTED'],
  [Code.Unavailable, 'UNAVAILABLE'],
  [Code.DeadlineExceeded, 'UNAVAILABLE'],
  [Code.Internal, 'FAILED'],
])('the Connect code %i is %s', (code, expected) => {
  const cause = new ConnectError('because', code);
  const error = StewardError.from(cause, 'the coordinator');
  expect(error.code).toBe(expected);
  expect(error.cause).toBe(cause);
  expect(error.message).not.toContain('[');
  if (expected === 'UNAVAILABLE') expect(error.message).toContain('the coordinator');
});

test('a failure of a workflow is found under its wrappings', () => {
  const held = ApplicationFailure.nonRetryable('region group 7 is held', 'Held', HOLDER);
  const wrapped = new ActivityFailure(
    'failed',
    'claim',
    '1',
    RetryState.NON_RETRYABLE_FAILURE,
    'worker',
    held,
  );
  expect(StewardError.from(wrapped)).toMatchObject({ code: 'HELD', holder: HOLDER });
  const rejected = ApplicationFailure.nonRetryable('no', 'Rejected', 'NOT_ENOUGH_NODES');
  expect(StewardError.from(rejected)).toMatchObject({ code: 'REJECTED', details: 'NOT_ENOUGH_NODES' });
  const missing = ApplicationFailure.nonRetryable('no', 'Rejected', 'DATABASE_NOT_FOUND');
  expect(StewardError.from(missing)).toMatchObject({ code: 'NOT_FOUND' });
  const other = ApplicationFailure.nonRetryable('broken', 'SomethingElse');
  expect(StewardError.from(other)).toMatchObject({ code: 'FAILED', message: 'broken' });
});

test('a namespace that no worker has served yet says what helps', () => {
  const cause = Object.assign(new Error('x'), {
    code: 3,
    details: 'Namespace default has no mapping defined for search attribute StewardActor',
  });
  const error = StewardError.from(new ServiceError('Failed to start Workflow', { cause }));
  expect(error.code).toBe('UNAVAILABLE');
  expect(error.message).toContain('start one');
});

test('a server that answers that it cannot is not called away', () => {
  const details = 'Unable to query workflow due to Workflow Task in failed state.';
  const asked = (code: number) =>
    StewardError.from(
      new ServiceError('Failed to query', { cause: Object.assign(new Error(), { code, details }) }),
      'Temporal',
    );
  expect(asked(9)).toMatchObject({ code: 'UNAVAILABLE', message: `Temporal cannot do it now: ${details}` });
  expect(asked(14).message).toBe(`Temporal cannot be reached (${details}): see whether it runs`);
});

test('whatever else is thrown is FAILED with its words', () => {
  expect(StewardError.from(new TypeError('x is not a function'))).toMatchObject({
    code: 'FAILED',
    message: 'x is not a function',
  });
  expect(StewardError.from('just text')).toMatchObject({ code: 'FAILED', message: 'just text' });
  expect(StewardError.from(undefined)).toMatchObject({ code: 'FAILED', message: 'undefined' });
});
