import type { WorkflowExecutionDescription, WorkflowExecutionInfo } from '@temporalio/client';
import type { TypedSearchAttributes } from '@temporalio/common';
import { optionalTsToDate } from '@temporalio/common/lib/time.js';
import {
  stewardActor,
  stewardDatabase,
  stewardPhase,
  stewardResource,
} from '../../workflows/search-attributes.js';
import type { Operation, OperationStatus, PendingActivity } from './model.js';

/** What Temporal tells of a workflow, as the client's plain data. */

type RawDescription = WorkflowExecutionDescription['raw'];
export type RawPendingActivity = NonNullable<RawDescription['pendingActivities']>[number];

/** What a listed and a described workflow have in common. */
export interface DescribedWorkflow {
  readonly workflowId: string;
  readonly runId: string;
  readonly type: string;
  readonly status: WorkflowExecutionInfo['status'];
  readonly startTime: Date;
  readonly closeTime?: Date | undefined;
  readonly typedSearchAttributes: TypedSearchAttributes;
}

export function operationFrom(info: DescribedWorkflow): Operation {
  const attributes = info.typedSearchAttributes;
  const database = attributes.get(stewardDatabase);
  const resource = attributes.get(stewardResource);
  const phase = attributes.get(stewardPhase);
  const actor = attributes.get(stewardActor);
  return {
    operationId: info.workflowId,
    runId: info.runId,
    workflowType: info.type,
    status: statusFrom(info.status.name),
    ...(database !== undefined && { database }),
    ...(resource !== undefined && { resource }),
    ...(phase !== undefined && { phase }),
    ...(actor !== undefined && { actor }),
    startedAt: info.startTime.toISOString(),
    ...(info.closeTime && { closedAt: info.closeTime.toISOString() }),
  };
}

function statusFrom(name: WorkflowExecutionInfo['status']['name']): OperationStatus {
  if (name === 'CANCELLED') return 'CANCELED';
  return name === 'UNSPECIFIED' || name === 'UNKNOWN' ? 'RUNNING' : name;
}

const ACTIVITY_STATES = [
  'UNKNOWN',
  'SCHEDULED',
  'STARTED',
  'CANCEL_REQUESTED',
  'PAUSED',
  'PAUSE_REQUESTED',
] as const;

export function pendingActivityFrom(
  raw: RawPendingActivity,
  summary: string | undefined,
  lastFailure: string | undefined,
): PendingActivity {
  const state = ACTIVITY_STATES[raw.state ?? 0] ?? 'UNKNOWN';
  const next = optionalTsToDate(raw.nextAttemptScheduleTime);
  return {
    activityType: raw.activityType?.name ?? '',
    ...(summary !== undefined && { summary }),
    state,
    attempt: raw.attempt ?? 1,
    ...(lastFailure && { lastFailure: isOfLostWorker(raw) ? LOST_WORKER : lastFailure }),
    ...(state === 'SCHEDULED' && next && { nextAttemptAt: next.toISOString() }),
  };
}

/** Temporal's own words are `activity Heartbeat timeout`. */
const LOST_WORKER = 'the worker that had it is not heard of any more: the next one that is free goes on';
/** `TIMEOUT_TYPE_HEARTBEAT` */
const HEARTBEAT = 4;

function isOfLostWorker({ lastFailure }: RawPendingActivity): boolean {
  return lastFailure?.timeoutFailureInfo?.timeoutType === HEARTBEAT;
}

/** What a worker has not taken up for this long has no worker. */
const NO_WORKER_AFTER_MS = 10_000;
const BLOCKED = 'BLOCKED: ';

/** What keeps an operation from ending, each in one line (I8). */
export function blockersOf(raw: RawDescription, activities: readonly PendingActivity[], now: Date): string[] {
  return [
    ...workflowTaskBlockers(raw, now),
    ...(raw.pendingActivities ?? []).flatMap((one, index) => activityBlockers(one, activities[index]!, now)),
  ];
}

function workflowTaskBlockers({ pendingWorkflowTask }: RawDescription, now: Date): string[] {
  if (pendingWorkflowTask === null || pendingWorkflowTask === undefined) return [];
  const { attempt, originalScheduledTime, startedTime } = pendingWorkflowTask;
  const since = optionalTsToDate(originalScheduledTime);
  if ((attempt ?? 1) > 2) {
    return [`the workflow task fails, attempt ${attempt}: see the worker's log`];
  }
  if (since !== undefined && !startedTime && now.getTime() - since.getTime() > NO_WORKER_AFTER_MS) {
    return [`no worker takes it up since ${since.toISOString()}: see whether a Steward worker runs`];
  }
  return [];
}

function activityBlockers(raw: RawPendingActivity, activity: PendingActivity, now: Date): string[] {
  const blockers: string[] = [];
  const due = optionalTsToDate(raw.nextAttemptScheduleTime) ?? optionalTsToDate(raw.scheduledTime);
  if (
    activity.state === 'SCHEDULED' &&
    due !== undefined &&
    now.getTime() - due.getTime() > NO_WORKER_AFTER_MS
  ) {
    blockers.push(
      `no worker takes up "${activity.summary ?? activity.activityType}" since ${due.toISOString()}: see whether a Steward worker runs`,
    );
  }
  const { lastFailure } = activity;
  if (lastFailure === undefined) return blockers;
  if (raw.lastFailure?.applicationFailureInfo?.type !== 'NotReady') {
    return [...blockers, `${activity.summary ?? activity.activityType}: ${lastFailure}`];
  }
  const at = lastFailure.indexOf(BLOCKED);
  if (at < 0) return blockers;
  const [node = ''] = lastFailure.split(': ', 1);
  const reason = lastFailure.slice(at + BLOCKED.length);
  return [...blockers, reason.startsWith(node) ? reason : `${node}: ${reason}`];
}
