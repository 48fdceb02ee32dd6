import {
  type Attributes,
  type Context,
  context,
  DiagLogLevel,
  diag,
  type Span,
  type SpanOptions,
  trace,
} from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { suppressTracing, W3CTraceContextPropagator } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { envDetectorSync, Resource } from '@opentelemetry/resources';
import {
  BasicTracerProvider,
  BatchSpanProcessor,
  type IdGenerator,
  RandomIdGenerator,
} from '@opentelemetry/sdk-trace-base';
import { version } from '../version.js';

/** A process as its spans name it. */
export interface TracedProcess {
  /** `service.name`, unless OTEL_SERVICE_NAME says otherwise. */
  readonly service: string;
  /** `service.instance.id`: which one of several, such as the id of a node. */
  readonly instance?: string | undefined;
}

/** What a span is known by before it is there. */
export interface SpanIds {
  readonly traceId: string;
  readonly spanId: string;
}

/** Random ids, except for spans whose ids are known before. */
class Ids implements IdGenerator {
  readonly #random = new RandomIdGenerator();
  known: SpanIds | undefined;

  generateTraceId = (): string => this.known?.traceId ?? this.#random.generateTraceId();
  generateSpanId = (): string => this.known?.spanId ?? this.#random.generateSpanId();
}

const ids = new Ids();

export interface Sdk {
  /** Sends the spans that wait. */
  flush(): Promise<void>;
  /** Does work of which no span tells. */
  suppressed<T>(work: () => T): T;
}

/** Registers an SDK that sends spans as the standard variables say. */
export function startSdk({ service, instance }: TracedProcess, warn: (problem: string) => void): Sdk {
  const told = (message: string): void => warn(reasonIn(message));
  const silent = (): void => {};
  diag.setLogger(
    { error: told, warn: told, info: silent, debug: silent, verbose: silent },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  );
  const own: Attributes = {
    'service.name': service,
    'service.version': version(),
    'process.pid': process.pid,
    ...(instance !== undefined && { 'service.instance.id': instance }),
  };
  const provider = new BasicTracerProvider({
    resource: new Resource(own).merge(envDetectorSync.detect()),
    idGenerator: ids,
    spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter())],
  });
  provider.register({
    // Baggage is our own: see src/rpc/baggage.ts.
    propagator: new W3CTraceContextPropagator(),
    contextManager: new AsyncLocalStorageContextManager().enable(),
  });
  return {
    flush: () => provider.forceFlush(),
    suppressed: (work) => context.with(suppressTracing(context.active()), work),
  };
}

/** What failed is told as JSON, with its stack. */
function reasonIn(message: string): string {
  try {
    const { message: reason } = JSON.parse(message) as { readonly message?: unknown };
    return typeof reason === 'string' ? reason : message;
  } catch {
    return message;
  }
}

/** Starts the span that is known by these ids. Without a parent in the context it is the first of the trace. */
export function startKnownSpan(known: SpanIds, name: string, options: SpanOptions, parent: Context): Span {
  ids.known = known;
  try {
    return trace.getTracer('steward').startSpan(name, options, parent);
  } finally {
    ids.known = undefined;
  }
}
