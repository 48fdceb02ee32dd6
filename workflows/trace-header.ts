import { defaultPayloadConverter, type Headers } from '@temporalio/common';
import { formatTraceparent, readTraceparent, spanOfRun } from '../src/rules/trace-context.js';

/** The header of `@temporalio/interceptors-opentelemetry`: W3C trace context as an object. */
const TRACE_HEADER = '_tracer-data';

/** The traceparent of whoever started or called; undefined when there is none, or nothing that can be read. */
export function callerIn(headers: Headers): string | undefined {
  const header = headers[TRACE_HEADER];
  if (header === undefined) return undefined;
  try {
    const { traceparent } = defaultPayloadConverter.fromPayload<{ readonly traceparent?: unknown }>(header);
    return readTraceparent(traceparent) && String(traceparent);
  } catch {
    return undefined;
  }
}

export function traceHeader(traceparent: string): Headers {
  return { [TRACE_HEADER]: defaultPayloadConverter.toPayload({ traceparent }) };
}

/** What a run hands on: its own span, in the trace of its caller; nothing when that traced nothing. */
export function headerOfRun(runId: string, caller: string | undefined): Headers {
  const called = readTraceparent(caller);
  if (called === undefined) return {};
  return traceHeader(formatTraceparent({ ...called, spanId: spanOfRun(runId).spanId }));
}
