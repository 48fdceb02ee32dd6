import { Code, ConnectError } from '@connectrpc/connect';
import type { NodeRef } from '../rpc/gen/steward/worker/v1/operation_pb.js';

/** Who this node is. */
export interface NodeIdentity {
  readonly nodeId: string;
  /** UUID made together with the ledger. */
  readonly ledgerId: string;
  readonly capabilities: readonly string[];
  /** Given by the coordinator at registration; 0 before the first one. */
  incarnation: bigint;
}

/** Refuses a call that is meant for another machine, or for this one before its disk was emptied. */
export function checkNodeRef(ref: NodeRef | undefined, identity: NodeIdentity): void {
  if (ref?.nodeId === identity.nodeId && ref.ledgerId === identity.ledgerId) return;
  const expected = ref === undefined ? 'no node' : `node "${ref.nodeId}" with ledger "${ref.ledgerId}"`;
  throw new ConnectError(
    `the call expects ${expected}, found node "${identity.nodeId}" with ledger "${identity.ledgerId}": ` +
      'ask GetNodeInfo, and do not take this node for the one that was meant',
    Code.FailedPrecondition,
  );
}
