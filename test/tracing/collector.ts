import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import protobuf from 'protobufjs';

/** A span as a collector gets it. */
export interface ReceivedSpan {
  readonly traceId: string;
  readonly spanId: string;
  /** Empty for the first of a trace. */
  readonly parentSpanId: string;
  readonly name: string;
  readonly kind: 'INTERNAL' | 'SERVER' | 'CLIENT';
  readonly failed: boolean;
  readonly message: string;
  /** `service.name` and `service.instance.id`: `steward-node node-1`. */
  readonly by: string;
  readonly attributes: Readonly<Record<string, string | number | boolean>>;
  readonly events: readonly string[];
  /** Span ids. */
  readonly links: readonly string[];
  readonly startNs: bigint;
  readonly endNs: bigint;
}

export interface Collector {
  /** For OTEL_EXPORTER_OTLP_ENDPOINT. */
  readonly url: string;
  readonly spans: readonly ReceivedSpan[];
  /** Everything that was received, as text in which an attribute can be looked for. */
  readonly bodies: readonly string[];
  /** Requests that were taken and not answered. */
  readonly unanswered: number;
  /** From now on requests are taken and not answered. */
  hold(): void;
  close(): Promise<void>;
}

/** What takes OTLP over HTTP with protocol buffers, as a collector does. */
export async function startCollector(): Promise<Collector> {
  const spans: ReceivedSpan[] = [];
  const bodies: string[] = [];
  let isHolding = false;
  let unanswered = 0;
  const take = async (request: IncomingMessage): Promise<number> => {
    const body = await buffer(request);
    if (request.url !== '/v1/traces' || request.headers['content-type'] !== 'application/x-protobuf')
      return 415;
    bodies.push(body.toString('latin1'));
    spans.push(...decode(body));
    return 200;
  };
  const server = createServer((request, response) => {
    if (isHolding) {
      unanswered += 1;
      return;
    }
    take(request).then(
      (status) => response.writeHead(status, { 'content-type': 'application/x-protobuf' }).end(),
      (error: unknown) => response.writeHead(400).end(String(error)),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans,
    bodies,
    get unanswered() {
      return unanswered;
    },
    hold() {
      isHolding = true;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** What is read here of opentelemetry/proto/collector/trace/v1/trace_service.proto. */
const { root } = protobuf.parse(`
  syntax = "proto3";
  message Request { repeated ResourceSpans resource_spans = 1; }
  message ResourceSpans { Resource resource = 1; repeated ScopeSpans scope_spans = 2; }
  message Resource { repeated KeyValue attributes = 1; }
  message ScopeSpans { repeated Span spans = 2; }
  message Span {
    bytes trace_id = 1;
    bytes span_id = 2;
    bytes parent_span_id = 4;
    string name = 5;
    int32 kind = 6;
    fixed64 start_time_unix_nano = 7;
    fixed64 end_time_unix_nano = 8;
    repeated KeyValue attributes = 9;
    repeated Event events = 11;
    repeated Link links = 13;
    Status status = 15;
  }
  message Event { string name = 2; }
  message Link { bytes trace_id = 1; bytes span_id = 2; }
  message Status { string message = 2; int32 code = 3; }
  message KeyValue { string key = 1; AnyValue value = 2; }
  message AnyValue {
    oneof value { string string_value = 1; bool bool_value = 2; int64 int_value = 3; double double_value = 4; }
  }
`);

interface KeyValue {
  readonly key: string;
  readonly value: {
    readonly stringValue?: string;
    readonly boolValue?: boolean;
    readonly intValue?: string;
    readonly doubleValue?: number;
  };
}

interface RequestMessage {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly KeyValue[] };
    readonly scopeSpans: readonly { readonly spans: readonly SpanMessage[] }[];
  }[];
}

interface SpanMessage {
  readonly traceId: Uint8Array;
  readonly spanId: Uint8Array;
  readonly parentSpanId: Uint8Array;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: readonly KeyValue[];
  readonly events: readonly { readonly name: string }[];
  readonly links: readonly { readonly spanId: Uint8Array }[];
  readonly status?: { readonly message: string; readonly code: number };
}

const KINDS = new Map([
  [1, 'INTERNAL'],
  [2, 'SERVER'],
  [3, 'CLIENT'],
] as const);
const ERROR = 2;

function decode(body: Buffer): ReceivedSpan[] {
  const type = root.lookupType('Request');
  const options = { longs: String, defaults: true, arrays: true };
  const { resourceSpans } = type.toObject(type.decode(body), options) as RequestMessage;
  return resourceSpans.flatMap(({ resource, scopeSpans }) => {
    const process = valuesOf(resource.attributes);
    const by = [process['service.name'], process['service.instance.id']].filter(Boolean).join(' ');
    return scopeSpans.flatMap(({ spans }) => spans.map((span) => received(span, by)));
  });
}

function received(span: SpanMessage, by: string): ReceivedSpan {
  const kind = KINDS.get(span.kind as 1 | 2 | 3);
  if (kind === undefined) throw new Error(`${span.name} is of kind ${span.kind}`);
  return {
    traceId: hex(span.traceId),
    spanId: hex(span.spanId),
    parentSpanId: hex(span.parentSpanId),
    name: span.name,
    kind,
    failed: span.status?.code === ERROR,
    message: span.status?.message ?? '',
    by,
    attributes: valuesOf(span.attributes),
    events: span.events.map(({ name }) => name),
    links: span.links.map(({ spanId }) => hex(spanId)),
    startNs: BigInt(span.startTimeUnixNano),
    endNs: BigInt(span.endTimeUnixNano),
  };
}

function valuesOf(attributes: readonly KeyValue[]): Record<string, string | number | boolean> {
  return Object.fromEntries(
    attributes.map(({ key, value }) => {
      const { stringValue, boolValue, intValue, doubleValue } = value;
      return [key, stringValue ?? boolValue ?? doubleValue ?? Number(intValue)];
    }),
  );
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
