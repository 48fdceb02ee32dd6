import { proxyActivities } from '@temporalio/workflow';
import type { BareActivities } from './bare-activities.js';

const { changeReplica } = proxyActivities<BareActivities>({
  startToCloseTimeout: '30s',
  cancellationType: 'TRY_CANCEL',
});

/** At most this many activities are pending at once; the server allows 2,000. */
const PENDING = 900;

/** What one would write first: a workflow with one activity for each replica RPC, as many at once as the server allows. */
export async function changeReplicas(
  verb: 'create' | 'delete',
  firstGroup: number,
  groups: number,
  nodeIds: readonly string[],
): Promise<void> {
  const replicas = Array.from({ length: groups }, (_, index) => firstGroup + index).flatMap((groupId) =>
    nodeIds.map((nodeId) => ({ groupId, nodeId })),
  );
  for (let at = 0; at < replicas.length; at += PENDING) {
    await Promise.all(replicas.slice(at, at + PENDING).map((replica) => changeReplica(verb, replica)));
  }
}
