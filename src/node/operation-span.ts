import type { Span } from '@opentelemetry/api';
import { parseOperationId } from '../rules/operation-id.js';
import { tracing } from '../tracing/tracing.js';
import type { PendingOperation, Result } from './operation.js';

/** From the acceptance of an operation to its end: a span below the call that brought it, if that is traced. */
export class OperationSpan {
  #span: Span | undefined;

  constructor(private readonly operation: PendingOperation) {
    this.asked();
  }

  /**
   * A call asked for it. The first one that is traced is where it belongs; the later ones point to it. After a restart of
   * the node that is the first one that asks again.
   */
  asked(): void {
    const api = tracing();
    const call = api?.trace.getActiveSpan();
    if (api === undefined || call?.isRecording() !== true) return;
    if (this.#span !== undefined) {
      call.addLink({ context: this.#span.spanContext() });
      return;
    }
    const { id, resource, epoch, request } = this.operation;
    const key = parseOperationId(id);
    this.#span = api.trace.getTracer('steward').startSpan(request.verb, {
      attributes: {
        'steward.operation.id': id,
        'steward.resource': resource,
        'steward.epoch': epoch,
        ...(key !== undefined && { 'steward.node': key.nodeId }),
      },
    });
  }

  /** Its effect begins; until then it waited. */
  began(): void {
    this.#span?.addEvent('effect began');
  }

  /** Does what belongs to it. */
  within<T>(work: () => T): T {
    const api = tracing();
    if (api === undefined) return work();
    const { context, trace, ROOT_CONTEXT } = api;
    return context.with(
      this.#span === undefined ? ROOT_CONTEXT : trace.setSpan(ROOT_CONTEXT, this.#span),
      work,
    );
  }

  /** Without a result: the node stops before it is over. */
  end(result?: Result): void {
    const api = tracing();
    if (api === undefined || this.#span === undefined) return;
    this.#span.setAttribute('steward.outcome', result?.state ?? 'PENDING');
    if (result?.state === 'FAIL') {
      const { code, message } = result;
      this.#span.setStatus({ code: api.SpanStatusCode.ERROR, message: `${code}: ${message}` });
    }
    this.#span.end();
  }
}
