/** W3C trace context: version, trace, span, flags. */
const TRACEPARENT = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;

export interface SpanRef {
  readonly traceId: string;
  readonly spanId: string;
  /** 01: it is recorded. */
  readonly flags: string;
}

/** Undefined for what is no traceparent. */
export function readTraceparent(text: unknown): SpanRef | undefined {
  const match = typeof text === 'string' ? TRACEPARENT.exec(text) : null;
  return match === null ? undefined : { traceId: match[1]!, spanId: match[2]!, flags: match[3]! };
}

export function formatTraceparent({ traceId, spanId, flags }: SpanRef): string {
  return `00-${traceId}-${spanId}-${flags}`;
}

/**
 * The span of a workflow's run, and the trace that it begins when nobody traced its start. Both come from the run's id, a
 * UUID: so every worker knows them, at any time, and the workflow draws no random number for them.
 */
export function spanOfRun(runId: string): { readonly traceId: string; readonly spanId: string } {
  const traceId = runId.replaceAll('-', '').toLowerCase();
  return { traceId, spanId: traceId.slice(16) };
}
