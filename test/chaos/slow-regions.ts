import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { RegionInfo_State } from '../../src/rpc/gen/steward/worker/v1/inventory_pb.js';
import { eventually } from '../support/eventually.js';
import type { Steward } from '../support/steward.js';

/** Longer than any test: until the faults are cleared. */
export const UNTIL_CLEARED_MS = 600_000;

export async function slow(
  steward: Steward,
  nodeIds: readonly string[],
  verb: 'create-region' | 'delete-region',
  delayMs = UNTIL_CLEARED_MS,
): Promise<void> {
  for (const nodeId of nodeIds) {
    await steward.fault(nodeId, { target: verb, kind: { case: 'delay', value: durationFromMs(delayMs) } });
  }
}

/** Resolves when the nodes say that they are deleting their regions of these region groups. */
export async function deletionsUnderWay(
  steward: Steward,
  nodeIds: readonly string[],
  groups: readonly number[],
): Promise<void> {
  await eventually(`${groups.length} deletions under way on ${nodeIds.join(', ')}`, async () => {
    const deleting = await Promise.all(nodeIds.map((nodeId) => deletingOn(steward, nodeId)));
    return deleting.every((ids) => groups.every((id) => ids.includes(id)));
  });
}

async function deletingOn(steward: Steward, nodeId: string): Promise<number[]> {
  const { ledgerId } = await steward.rpc(nodeId).node.getNodeInfo({});
  const { regions } = await steward.rpc(nodeId).inventory.listRegions({ node: { nodeId, ledgerId } });
  return regions
    .filter(({ state }) => state === RegionInfo_State.DELETING)
    .map(({ region }) => Number(region?.groupId));
}

/** Group ids of the deletions that a node ran to an end, in order. */
export function deletedRegions(steward: Steward, nodeId: string): number[] {
  return steward.effects(nodeId, 'delete-region').map((id) => Number(id.split('/')[2]));
}
