import { type Context, ROOT_CONTEXT, type Span, SpanStatusCode, TraceFlags, trace } from '@opentelemetry/api';
import { OpenTelemetryActivityInboundInterceptor } from '@temporalio/interceptors-opentelemetry';
import type { ActivityInterceptorsFactory } from '@temporalio/worker';
import type { WorkflowInfo } from '@temporalio/workflow';
import type { OperationEnd } from '../../workflows/interceptors.js';
import { stewardActor, stewardDatabase, stewardResource } from '../../workflows/search-attributes.js';
import { callerIn, traceHeader } from '../../workflows/trace-header.js';
import { formatTraceparent, readTraceparent, spanOfRun } from '../rules/trace-context.js';
import { startKnownSpan } from '../tracing/sdk.js';

/** How a run ended. */
type RunEnd = OperationEnd | { readonly outcome: 'continued'; readonly caller: string | undefined };

/** The span of a run that is over, from its start until now. */
export function tellRun(info: WorkflowInfo, end: RunEnd): void {
  const span = startRun(info, end.caller, info.runStartTime);
  for (const [name, key] of [
    ['steward.database', stewardDatabase],
    ['steward.resource', stewardResource],
    ['steward.actor', stewardActor],
  ] as const) {
    // The typed ones are no longer typed outside the workflow.
    const [value] = info.searchAttributes[key.name] ?? [];
    if (typeof value === 'string') span.setAttribute(name, value);
  }
  span.setAttribute('steward.outcome', end.outcome);
  if (end.outcome === 'failed') {
    span.setStatus({ code: SpanStatusCode.ERROR, message: end.failure ?? end.outcome });
  }
  span.end();
}

/** A span for every attempt of an activity, below that of its run: also of a run that nobody traced when it was started. */
export const activitySpans: readonly ActivityInterceptorsFactory[] = [
  ({ info }) => ({
    inbound: {
      execute(input, next) {
        const { workflowExecution: execution, workflowType = '' } = info;
        if (execution === undefined || callerIn(input.headers) !== undefined) return next(input);
        const { traceId, spanId, traceFlags } = startRun({ ...execution, workflowType }).spanContext();
        const traceparent = formatTraceparent({
          traceId,
          spanId,
          flags: `0${traceFlags & TraceFlags.SAMPLED}`,
        });
        return next({ ...input, headers: { ...input.headers, ...traceHeader(traceparent) } });
      },
    },
  }),
  (context) => ({ inbound: new OpenTelemetryActivityInboundInterceptor(context) }),
];

/** The span of a run; one that is not ended is told nobody. */
function startRun(
  {
    workflowId,
    workflowType,
    runId,
  }: { readonly workflowId: string; readonly workflowType: string; readonly runId: string },
  caller?: string,
  startTime?: Date,
): Span {
  return startKnownSpan(
    spanOfRun(runId),
    `RunWorkflow:${workflowType}`,
    {
      attributes: { temporalWorkflowId: workflowId, run_id: runId, 'steward.workflow.type': workflowType },
      ...(startTime !== undefined && { startTime }),
    },
    contextOf(caller),
  );
}

function contextOf(caller: string | undefined): Context {
  const called = readTraceparent(caller);
  if (called === undefined) return ROOT_CONTEXT;
  const { traceId, spanId, flags } = called;
  return trace.setSpanContext(ROOT_CONTEXT, {
    traceId,
    spanId,
    traceFlags: Number.parseInt(flags, 16),
    isRemote: true,
  });
}
