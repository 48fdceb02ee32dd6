import type * as OpenTelemetry from '@opentelemetry/api';
import type { Sdk, TracedProcess } from './sdk.js';
import { readTracing } from './setting.js';

/** A process whose spans cannot be delivered ends all the same, after this. In milliseconds. */
const FLUSH_LIMIT_MS = 1_000;
/** Where OpenTelemetry keeps, for all copies of its API, what an SDK has registered in this process. */
const REGISTRY = Symbol.for('opentelemetry.js.api.1');
const TRACER = 'steward';

type Api = typeof OpenTelemetry;
type Attributes = OpenTelemetry.Attributes;

let api: Api | undefined;
let sdk: Sdk | undefined;

/**
 * Traces this process when the standard variables say where spans go (docs/traces.md); otherwise nothing of OpenTelemetry is
 * loaded. Wrong variables are a warning: no process fails because it cannot be traced.
 */
export async function startTracing(process_: TracedProcess, warn: (problem: string) => void): Promise<void> {
  const setting = readTracing(process.env);
  if (setting.kind === 'OFF') return;
  if (setting.kind === 'WRONG') {
    warn(`traces are off: ${setting.problem}`);
    return;
  }
  const { startSdk } = await import('./sdk.js');
  sdk = startSdk(process_, warn);
  await openTelemetry();
}

/** Sends what spans there are, for a moment: false when they could not be sent in that time. Never throws. */
export async function flushTraces(): Promise<boolean> {
  if (sdk === undefined) return true;
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), FLUSH_LIMIT_MS);
  });
  const flushed = sdk.flush().then(
    () => true,
    () => true,
  );
  try {
    return await Promise.race([flushed, limit]);
  } finally {
    clearTimeout(timer);
  }
}

/** Whether this process is traced: by {@link startTracing}, or by the program that uses the client. */
export function isTraced(): boolean {
  const registered = (globalThis as { readonly [REGISTRY]?: { readonly trace?: unknown } })[REGISTRY];
  return api !== undefined || registered?.trace !== undefined;
}

/** For a process that is traced. */
export async function openTelemetry(): Promise<Api> {
  api ??= await import('@opentelemetry/api');
  return api;
}

/** The same in processes that {@link startTracing} has seen to; undefined when they are not traced. */
export function tracing(): Api | undefined {
  return api;
}

/** Does work inside a span of its own, below the one that is active; just does it when the process is not traced. */
export async function inSpan<T>(name: string, attributes: Attributes, work: () => Promise<T>): Promise<T> {
  if (api === undefined) return work();
  const { SpanStatusCode } = api;
  return api.trace.getTracer(TRACER).startActiveSpan(name, { attributes }, async (span) => {
    try {
      return await work();
    } catch (error) {
      span.setStatus({ code: SpanStatusCode.ERROR, message: String(error) });
      throw error;
    } finally {
      span.end();
    }
  });
}

/** Does work that is in no span: what is asked over and over as long as somebody watches. */
export function untraced<T>(work: () => T): T {
  return sdk === undefined ? work() : sdk.suppressed(work);
}

/** Says more of the span that is active. */
export function annotate(attributes: Attributes): void {
  api?.trace.getActiveSpan()?.setAttributes(attributes);
}

/** The span on whose behalf something is logged. */
export function traceIds(): { readonly trace_id: string; readonly span_id: string } | undefined {
  const context = api?.trace.getActiveSpan()?.spanContext();
  return context && { trace_id: context.traceId, span_id: context.spanId };
}
