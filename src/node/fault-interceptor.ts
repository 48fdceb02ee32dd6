import { isMessage } from '@bufbuild/protobuf';
import { Code, ConnectError, createContextKey, type Interceptor } from '@connectrpc/connect';
import { FaultService } from '../rpc/gen/steward/worker/v1/fault_pb.js';
import {
  CancelRequestSchema,
  GetRequestSchema,
  SubmitRequestSchema,
} from '../rpc/gen/steward/worker/v1/operation_pb.js';
import type { Faults } from './faults.js';

/** Tears down the stream of the call, so that no answer ever reaches the caller. Set by the server for each call. */
export const tearDownKey = createContextKey<() => void>(() => undefined, {
  description: 'tear down the stream',
});

/** When set, Submit refuses what it does not know with this delay in milliseconds. */
export const busyKey = createContextKey<number | undefined>(undefined, { description: 'busy fault' });

/**
 * Disturbs calls as the faults say. A delayed call is handled even when its caller has given up, as one that was held up
 * in the network is. FaultService itself and GetNodeInfo are never disturbed.
 */
export function faultInterceptor(faults: Faults): Interceptor {
  return (next) => async (request) => {
    if (request.stream || request.service.typeName === FaultService.typeName) return next(request);
    let duplicate = false;
    let dropReply = false;
    for (const strike of faults.strikeRpc(request.method.name, operationIdsOf(request.message))) {
      switch (strike.kind) {
        case 'delay':
          await faults.hold(strike.delayMs);
          break;
        case 'error':
          throw new ConnectError(`fault: ${request.method.name} is not handled`, strike.code);
        case 'dropRequest':
          await faults.swallowed(request.signal);
          // Whoever gave up first, client or server, the answer is the same: the deadline passed.
          if (request.signal.aborted) throw ConnectError.from(request.signal.reason, Code.DeadlineExceeded);
          throw new ConnectError(`fault: ${request.method.name} was swallowed`, Code.Unavailable);
        case 'busy':
          request.contextValues.set(busyKey, strike.retryAfterMs);
          break;
        case 'duplicate':
          duplicate = true;
          break;
        case 'dropReply':
          dropReply = true;
          break;
        default:
          throw new Error(`unknown strike ${JSON.stringify(strike satisfies never)}`);
      }
    }
    const first = duplicate ? next(request).catch(() => undefined) : undefined;
    const answer = next(request);
    await Promise.allSettled([first, answer]);
    if (dropReply) {
      request.contextValues.get(tearDownKey)();
      // Aborted: the adapter knows by it that there is nobody left to answer.
      throw new ConnectError('fault: the reply is lost', Code.Aborted);
    }
    return answer;
  };
}

function operationIdsOf(message: unknown): readonly string[] {
  if (isMessage(message, SubmitRequestSchema))
    return message.operations.map(({ operationId }) => operationId);
  if (isMessage(message, GetRequestSchema) || isMessage(message, CancelRequestSchema))
    return message.operationIds;
  return [];
}
