import { messageOf } from '../../message-of.js';
import { diskVerdict } from '../../rules/disk-space.js';
import type { Node } from '../model.js';
import type { NodeState, Nodes } from '../nodes.js';
import { examineClock } from './clocks.js';
import { type Finding, ok, warn, wrong } from './finding.js';

/** What is known here of a node's process, where it is one of a local stack. */
export type ProcessStates = ReadonlyMap<string, { readonly state: string }>;

/** Each node: whether it lives and answers, its disk and its clock. */
export async function examineNodes(nodes: Nodes, processes: ProcessStates): Promise<Finding[]> {
  const all = await nodes.list();
  if (all.length === 0) {
    return [
      warn('nodes', 'none has registered yet', 'start nodes with --coordinator <url of the coordinator>'),
    ];
  }
  return (await Promise.all(all.map((node) => examineNode(nodes, node, processes)))).flat();
}

async function examineNode(nodes: Nodes, node: Node, processes: ProcessStates): Promise<Finding[]> {
  const { nodeId, alive, silentMs, replicas, address } = node;
  const check = `node ${nodeId}`;
  const process = processes.get(nodeId)?.state;
  if (!alive) {
    const held = replicas === 0 ? '' : `; ${replicas} replicas of the catalog are on it`;
    const state = process === undefined || process === 'running' ? '' : `${process}, `;
    return [
      wrong(check, `${state}silent for ${Math.round(silentMs / 1_000)} s${held}`, fixOf(nodeId, process)),
    ];
  }
  const askedAt = Date.now();
  let state: NodeState;
  try {
    state = await nodes.state(node);
  } catch (error) {
    return [
      warn(
        check,
        `sends heartbeats, and does not answer at ${address}: ${messageOf(error)}`,
        process === 'paused'
          ? fixOf(nodeId, process)
          : 'see that its --advertise address can be reached from workers and from here, and that it is not overloaded',
      ),
    ];
  }
  const answeredAt = Date.now();
  if (state.nodeId !== nodeId || state.ledgerId !== node.ledgerId) {
    return [
      wrong(
        check,
        `another node answers at ${address}: ${state.nodeId} with ledger ${state.ledgerId}`,
        'give each node an --advertise address of its own',
      ),
    ];
  }
  const clock = state.now && examineClock(check, new Date(state.now), { askedAt, answeredAt });
  return [ok(check, `alive, ${replicas} replicas`), ...(clock ? [clock] : []), ...examineDisk(state)];
}

function fixOf(nodeId: string, process: string | undefined): string {
  if (process === 'paused' || process === 'stopped') return `steward node resume ${nodeId}`;
  return (
    'start it again on its disk; when the disk is lost: steward region-group forget-replica <id> ' +
    `--node ${nodeId} for each of its replicas`
  );
}

function examineDisk({ nodeId, diskTotalBytes, diskFreeBytes }: NodeState): Finding[] {
  if (diskTotalBytes === undefined || diskFreeBytes === undefined) return [];
  const check = `disk ${nodeId}`;
  const found = `${size(diskFreeBytes)} of ${size(diskTotalBytes)} free`;
  const fix = `free space where ${nodeId} has its data, or give it a larger disk; to remove regions: steward region-group remove`;
  switch (diskVerdict(diskFreeBytes, diskTotalBytes)) {
    case 'ENOUGH':
      return [ok(check, found)];
    case 'LOW':
      return [warn(check, found, fix)];
    case 'FULL':
      return [wrong(check, found, fix)];
  }
}

function size(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  const power = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(bytes, 1)) / 10));
  return `${(bytes / 1_024 ** power).toFixed(power === 0 ? 0 : 1)} ${units[power]}`;
}
