import {
  Code,
  ConnectError,
  type Interceptor,
  type StreamRequest,
  type StreamResponse,
  type UnaryRequest,
  type UnaryResponse,
} from '@connectrpc/connect';
import type { Span, SpanKind } from '@opentelemetry/api';
import { isTraced, openTelemetry, tracing } from '../tracing/tracing.js';

type Request = UnaryRequest | StreamRequest;
type Next = (request: Request) => Promise<UnaryResponse | StreamResponse>;

/** W3C trace context. */
const HEADER = 'traceparent';
/** What is wrong with the server, and not with what it was asked. */
const SERVER_FAULTS: ReadonlySet<Code> = new Set([
  Code.Unknown,
  Code.DeadlineExceeded,
  Code.Unimplemented,
  Code.Internal,
  Code.Unavailable,
  Code.DataLoss,
]);

/**
 * A span for each call that belongs to something that is traced and not over. What a process asks by itself, such as
 * heartbeats, begins no trace, and what goes on for ever after a call, such as checkpoints, adds nothing to it.
 */
export const sendTrace: Interceptor = (next) => (request) =>
  isTraced() ? callInSpan(next, request) : next(request);

/** Handles a call inside the trace of its caller, if that is traced. */
export const takeTrace: Interceptor = (next) => async (request) => {
  const api = tracing();
  if (api === undefined || !request.header.has(HEADER)) return next(request);
  const { propagation, ROOT_CONTEXT, SpanKind: Kind } = api;
  const context = propagation.extract(ROOT_CONTEXT, request.header, {
    get: (header, key) => header.get(key) ?? undefined,
    keys: (header) => [...header.keys()],
  });
  const isFault = (code: Code): boolean => SERVER_FAULTS.has(code);
  return api.context.with(context, () => inCallSpan(request, Kind.SERVER, isFault, () => next(request)));
};

async function callInSpan(next: Next, request: Request): Promise<UnaryResponse | StreamResponse> {
  const { propagation, context, trace, SpanKind: Kind } = await openTelemetry();
  if (trace.getActiveSpan()?.isRecording() !== true) return next(request);
  return inCallSpan(
    request,
    Kind.CLIENT,
    () => true,
    (span) => {
      const { hostname, port } = new URL(request.url);
      span.setAttributes({ 'server.address': hostname, ...(port !== '' && { 'server.port': Number(port) }) });
      propagation.inject(context.active(), request.header, {
        set: (header, key, value) => header.set(key, value),
      });
      return next(request);
    },
  );
}

async function inCallSpan(
  request: Request,
  kind: SpanKind,
  isFault: (code: Code) => boolean,
  call: (span: Span) => Promise<UnaryResponse | StreamResponse>,
): Promise<UnaryResponse | StreamResponse> {
  const { trace, SpanStatusCode } = await openTelemetry();
  const { service, method } = request;
  const attributes = {
    'rpc.system': 'connect_rpc',
    'rpc.service': service.typeName,
    'rpc.method': method.name,
    ...(!request.stream && attributesOf(request.message)),
  };
  const name = `${service.typeName}/${method.name}`;
  return trace.getTracer('steward').startActiveSpan(name, { kind, attributes }, async (span) => {
    try {
      return await call(span);
    } catch (error) {
      const { code, rawMessage } = ConnectError.from(error);
      span.setAttribute('rpc.connect_rpc.error_code', wireName(code));
      if (isFault(code)) span.setStatus({ code: SpanStatusCode.ERROR, message: rawMessage });
      throw error;
    } finally {
      span.end();
    }
  });
}

/** Which node and which of its operations a call is about; nothing else of what is asked stands in a span. */
function attributesOf(message: object): Record<string, string | number> {
  const { node, operations, operationIds } = message as {
    readonly node?: { readonly nodeId?: unknown };
    readonly operations?: readonly { readonly operationId?: unknown }[];
    readonly operationIds?: readonly unknown[];
  };
  const asked = Array.isArray(operations) ? operations.map(({ operationId }) => operationId) : operationIds;
  const [first] = Array.isArray(asked) ? asked : [];
  return {
    ...(typeof node?.nodeId === 'string' && { 'steward.node': node.nodeId }),
    ...(Array.isArray(asked) && { 'steward.operations': asked.length }),
    ...(asked?.length === 1 && typeof first === 'string' && { 'steward.operation.id': first }),
  };
}

/** `DeadlineExceeded`: deadline_exceeded. */
function wireName(code: Code): string {
  return Code[code].replaceAll(/(?<!^)[A-Z]/g, (letter) => `_${letter}`).toLowerCase();
}
