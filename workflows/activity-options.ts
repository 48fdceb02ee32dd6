import type { ActivityOptions, LocalActivityOptions } from '@temporalio/workflow';

/** Retry, time-out and heartbeat choices of all workflows, in one place, each with its reason. */

/**
 * A claim or a closing step: one transaction of a few milliseconds. As a local activity it costs one event. It is given
 * up after a short while, because a local activity that waits keeps its workflow task open and adds events as it does;
 * `DURABLE_STEP` goes on from there.
 */
export const QUICK_STEP = {
  startToCloseTimeout: '2s',
  scheduleToCloseTimeout: '2500ms',
  retry: { initialInterval: '100ms', maximumAttempts: 2 },
} satisfies LocalActivityOptions;

/** The same step when the catalog is away: tried for ever, in as many events as if it had worked at once. */
export const DURABLE_STEP = {
  startToCloseTimeout: '20s',
  retry: { initialInterval: '200ms', backoffCoefficient: 2, maximumInterval: '5s' },
  cancellationType: 'TRY_CANCEL',
} satisfies ActivityOptions;

/**
 * Reconciling a node: each attempt is a pass of calls with their own deadlines, and ends. It heartbeats after each
 * batch, so that a killed worker's pass is started elsewhere within seconds; a pass over thousands of regions may take
 * longer than that. No limit of attempts or time (I1): the delay between passes comes with the failure `NotReady`; the
 * intervals here are for other failures (the catalog is away).
 */
export const RECONCILE = {
  startToCloseTimeout: '2m',
  heartbeatTimeout: '4s',
  retry: { initialInterval: '200ms', backoffCoefficient: 2, maximumInterval: '5s' },
  cancellationType: 'TRY_CANCEL',
} satisfies ActivityOptions;

/**
 * A cycle of a keeper: containers are asked for a few seconds each, all at once. It heartbeats, so that a killed worker's
 * cycle goes on elsewhere within seconds; repeating it repeats nothing.
 */
export const KEEPER_CYCLE = {
  startToCloseTimeout: '1m',
  heartbeatTimeout: '4s',
  retry: { initialInterval: '500ms', backoffCoefficient: 2, maximumInterval: '10s' },
  cancellationType: 'TRY_CANCEL',
} satisfies ActivityOptions;

/**
 * A pass over what the catalog found, with calls to nodes in between: it heartbeats after each, so that a killed worker's
 * pass is started elsewhere within seconds. It may be repeated at any point; a catalog that is away is asked for ever.
 */
export const CATALOG_PASS = {
  startToCloseTimeout: '5m',
  heartbeatTimeout: '10s',
  retry: { initialInterval: '200ms', backoffCoefficient: 2, maximumInterval: '5s' },
  cancellationType: 'TRY_CANCEL',
} satisfies ActivityOptions;

/** A commit: tried without limit; what blocks stands in the message of `NotReady`, which brings its own delay. */
export const COMMIT = {
  startToCloseTimeout: '1m',
  heartbeatTimeout: '5s',
  retry: { initialInterval: '200ms', backoffCoefficient: 2, maximumInterval: '5s' },
  cancellationType: 'WAIT_CANCELLATION_COMPLETED',
} satisfies ActivityOptions;
