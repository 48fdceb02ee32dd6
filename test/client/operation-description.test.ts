import { expect, test } from 'vitest';
import { blockersOf, pendingActivityFrom } from '../../src/client/operation-description.js';

test('an activity whose worker was lost says so, not how Temporal calls it', () => {
  const raw = {
    activityType: { name: 'reconcileRegions' },
    state: 1,
    attempt: 2,
    lastFailure: { message: 'activity Heartbeat timeout', timeoutFailureInfo: { timeoutType: 4 } },
  };
  const pending = pendingActivityFrom(raw, 'delete 2 regions on node-1', raw.lastFailure.message);
  const lost = 'the worker that had it is not heard of any more: the next one that is free goes on';
  expect(pending.lastFailure).toBe(lost);
  expect(blockersOf({ pendingActivities: [raw] }, [pending], new Date())).toEqual([
    `delete 2 regions on node-1: ${lost}`,
  ]);
});
