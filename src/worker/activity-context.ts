import type { Context, Info } from '@temporalio/activity';
import { ApplicationFailure, defaultPayloadConverter } from '@temporalio/common';
import type { ActivityExecuteInput, ActivityInterceptors } from '@temporalio/worker';
import { ACTOR_HEADER } from '../../workflows/actor-header.js';
import { type CallContext, onBehalfOf } from '../call-context.js';
import { noteBlocked, noteUnblocked } from '../metrics/blocked.js';
import { annotate } from '../tracing/tracing.js';

/** Around every attempt of an activity: what it logs and asks of nodes names the workflow, and what blocks it is counted. */
export function aroundActivity(context: Context): ActivityInterceptors {
  const { info } = context;
  return {
    inbound: {
      async execute(input, next) {
        const key = `${info.workflowExecution?.workflowId}/${info.workflowExecution?.runId}/${info.activityId}`;
        const behalf = contextOf(info, input);
        annotate({
          'steward.attempt': info.attempt,
          ...(behalf.node !== undefined && { 'steward.node': behalf.node }),
          ...(behalf.actor !== undefined && { 'steward.actor': behalf.actor }),
        });
        try {
          const result = await onBehalfOf(behalf, () => next(input));
          noteUnblocked(key);
          return result;
        } catch (error) {
          const nextAttemptMs = blockedUntil(error);
          const before = blockedSince(info.heartbeatDetails);
          if (nextAttemptMs !== undefined) {
            const sinceMs = before ?? Date.now();
            const type = info.workflowType ?? '';
            noteBlocked(key, { type, node: nodeOf(input.args[0]) ?? '', sinceMs }, nextAttemptMs);
            // Whoever makes the next attempt, on whatever worker, finds it.
            context.heartbeat({ blockedSinceMs: sinceMs });
          } else {
            noteUnblocked(key);
            if (before !== undefined) context.heartbeat({});
          }
          throw error;
        }
      },
    },
  };
}

function contextOf(info: Info, { args, headers }: ActivityExecuteInput): CallContext {
  const { workflowExecution, workflowType, activityType: activity, attempt: activityAttempt } = info;
  const header = headers[ACTOR_HEADER];
  const actor = header === undefined ? undefined : defaultPayloadConverter.fromPayload<unknown>(header);
  const node = nodeOf(args[0]);
  return {
    workflowId: workflowExecution?.workflowId ?? '',
    ...(workflowType !== undefined && { workflowType }),
    ...(workflowExecution && { runId: workflowExecution.runId }),
    activity,
    activityAttempt,
    ...(typeof actor === 'string' && { actor }),
    ...(node !== undefined && { node }),
  };
}

/** Delay until the next attempt of what waits (NotReady) for something that does not come by itself; else undefined. */
function blockedUntil(error: unknown): number | undefined {
  if (!(error instanceof ApplicationFailure) || error.type !== 'NotReady') return undefined;
  return error.message.includes('BLOCKED: ') ? Number(error.nextRetryDelay ?? 0) : undefined;
}

function blockedSince(details: unknown): number | undefined {
  const since = (details as { readonly blockedSinceMs?: unknown } | null | undefined)?.blockedSinceMs;
  return typeof since === 'number' ? since : undefined;
}

function nodeOf(input: unknown): string | undefined {
  const node = (input as { readonly nodeId?: unknown } | null | undefined)?.nodeId;
  return typeof node === 'string' ? node : undefined;
}
