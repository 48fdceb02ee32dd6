import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError, type ServiceImpl } from '@connectrpc/connect';
import type { OperationService, OperationStatus } from '../rpc/gen/steward/worker/v1/operation_pb.js';
import { SUBMIT_BATCH } from '../rules/bounds.js';
import { busyKey } from './fault-interceptor.js';
import { checkNodeRef, type NodeIdentity } from './node-identity.js';
import type { Operations, Submission } from './operations.js';

/** A reply waits this long for quick effects, so that their callers need not ask again. */
const QUICK_MS = 10;

/** The one verb of the worker contract. */
export function operationService(
  operations: Operations,
  identity: NodeIdentity,
): ServiceImpl<typeof OperationService> {
  return {
    async submit(request, context) {
      checkNodeRef(request.node, identity);
      checkBatch(request.operations.length);
      const submission = acceptOrUnavailable(() =>
        operations.submit(request.operations, context.values.get(busyKey)),
      );
      await endedSoon(submission);
      return answer(submission.statuses());
    },

    get(request) {
      checkNodeRef(request.node, identity);
      checkBatch(request.operationIds.length);
      return answer(request.operationIds.map((id) => operations.status(id)));
    },

    async cancel(request) {
      checkNodeRef(request.node, identity);
      checkBatch(request.operationIds.length);
      const submission = operations.cancel(request.operationIds);
      await endedSoon(submission);
      return answer(submission.statuses());
    },
  };
}

function checkBatch(size: number): void {
  if (size <= SUBMIT_BATCH) return;
  throw new ConnectError(
    `${size} operations in a call: at most ${SUBMIT_BATCH}, split them`,
    Code.InvalidArgument,
  );
}

function acceptOrUnavailable(accept: () => Submission): Submission {
  try {
    return accept();
  } catch (error) {
    const message = `the ledger cannot be written, nothing was accepted: ${String(error)}`;
    throw new ConnectError(message, Code.Unavailable, undefined, undefined, error);
  }
}

async function endedSoon(submission: Submission): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const quick = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, QUICK_MS);
  });
  await Promise.race([submission.ended, quick]);
  clearTimeout(timer);
}

function answer(statuses: OperationStatus[]) {
  return { statuses, now: timestampFromMs(Date.now()) };
}
