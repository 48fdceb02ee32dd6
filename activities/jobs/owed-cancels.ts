import type { OwedCancel } from '../../src/catalog/jobs/cancels.js';
import type { TaskGroupOperation } from '../../src/engines/jobs.js';
import { type NodeMismatch, NodeUnreachable, type OperationStatus } from '../../src/engines/nodes.js';
import { LATEST_MS, pollDelayMs } from '../../src/rules/pace.js';
import { taskGroupOperation } from './task-group-operation.js';

/** What is made of an owed cancel: of its node's answer, or of the want of one. */
export type CancelVerdict =
  /** Nothing of it is active on the node any more; with an error, a savepoint was not made. */
  | { readonly kind: 'OVER'; readonly error?: string }
  /** It failed, and is asked for again under another attempt (I3). */
  | { readonly kind: 'AGAIN'; readonly error: string }
  /** Nothing to ask anew, or nothing yet: waited for as long as the job waits for a cancel at all. */
  | { readonly kind: 'WAIT'; readonly why: string; readonly blocker?: string; readonly delayMs: number }
  /** The node will not answer it: the job goes on without. */
  | { readonly kind: 'GIVE_UP'; readonly why: string };

/** The operation by which a node is asked for it. */
export function cancelOperation(catalogId: string, owed: OwedCancel): TaskGroupOperation {
  const { jobId, pipeline, taskGroup, savepoint } = owed;
  return {
    ...taskGroupOperation('cancel-task-group', { catalogId, jobId, pipeline, taskGroup }, owed),
    change: { verb: 'cancel-task-group', savepoint },
  };
}

/** What needs no asking; undefined for what is due. */
export function verdictUnasked({
  otherLedger,
  waitMs,
  lastError,
  node,
}: OwedCancel): CancelVerdict | undefined {
  if (otherLedger) return { kind: 'OVER', error: 'the node came back with another ledger' };
  if (waitMs === 0) return undefined;
  const blocker = `${node.nodeId} fails to cancel: ${lastError}`;
  return { kind: 'WAIT', why: lastError ?? 'the cancel fails', blocker, delayMs: waitMs };
}

export function verdictOfAnswer({ savepoint, node }: OwedCancel, status: OperationStatus): CancelVerdict {
  switch (status.state) {
    case 'SUCCESS':
      return { kind: 'OVER' };
    case 'FAIL':
      return { kind: savepoint ? 'OVER' : 'AGAIN', error: `${status.code}: ${status.message}` };
    case 'REFUSED': {
      // Something newer was accepted there since: what this one was to end is over.
      if (status.code === 'STALE_EPOCH') return { kind: 'OVER' };
      const blocker = `${node.nodeId} refuses to cancel: ${status.message}`;
      if (status.code === 'UNSUPPORTED') return { kind: 'GIVE_UP', why: blocker };
      return { kind: 'WAIT', why: status.message, blocker, delayMs: status.retryAfterMs ?? LATEST_MS };
    }
    case 'PROCESSING':
      return { kind: 'WAIT', why: 'the cancel takes too long', delayMs: pollDelayMs(status.ageMs) };
    case 'TASK_NOT_EXIST':
      return { kind: 'WAIT', why: 'the cancel takes too long', delayMs: pollDelayMs(0) };
  }
}

/** A node that does not answer and has no heartbeat either is lost; one that lives is waited for. */
export function verdictOfSilence(
  { node, nodeAlive }: OwedCancel,
  error: NodeUnreachable | NodeMismatch,
): CancelVerdict {
  const why = error.message;
  if (!nodeAlive) return { kind: 'GIVE_UP', why: `${node.nodeId} is lost: ${why}` };
  const delayMs = error instanceof NodeUnreachable ? error.retryAfterMs : LATEST_MS;
  return { kind: 'WAIT', why, blocker: why, delayMs };
}
