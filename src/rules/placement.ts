/** A live node and how many replicas it holds already. */
export interface Candidate {
  readonly nodeId: string;
  readonly replicas: number;
}

/**
 * Nodes for each of `groups` new region groups: never two replicas of a group on one node, the fullest and the emptiest
 * node end as near to each other as that allows. Undefined when there are fewer candidates than replicas.
 */
export function placeGroups(
  candidates: readonly Candidate[],
  groups: number,
  replicationFactor: number,
): string[][] | undefined {
  if (candidates.length < replicationFactor) return undefined;
  const load = new Map(candidates.map(({ nodeId, replicas }) => [nodeId, replicas]));
  return Array.from({ length: groups }, () => leastLoaded(load, replicationFactor));
}

/**
 * Nodes for the `missing` replicas of a region group that has some on `taken`; fewer when there are not enough. Counts
 * them in `load` (replicas by live node), so that it can be asked for the next region group.
 */
export function placeMissing(load: Map<string, number>, taken: readonly string[], missing: number): string[] {
  return leastLoaded(load, missing, taken);
}

/** A live node that runs task groups, and how many it has. */
export interface TaskGroupHost {
  readonly nodeId: string;
  readonly taskGroups: number;
  /** That it runs at a time; absent: any number. */
  readonly maxTaskGroups?: number;
}

/**
 * A node for each of so many task groups, as evenly as their places allow; undefined when there are not enough of them: a
 * part of a job is never placed.
 */
export function placeTaskGroups(hosts: readonly TaskGroupHost[], count: number): string[] | undefined {
  const load = new Map(hosts.map(({ nodeId, taskGroups }) => [nodeId, taskGroups]));
  const chosen: string[] = [];
  for (let at = 0; at < count; at += 1) {
    const full = hosts.filter(
      (one) => load.get(one.nodeId)! >= (one.maxTaskGroups ?? Number.POSITIVE_INFINITY),
    );
    const [nodeId] = leastLoaded(
      load,
      1,
      full.map((one) => one.nodeId),
    );
    if (nodeId === undefined) return undefined;
    chosen.push(nodeId);
  }
  return chosen;
}

function leastLoaded(load: Map<string, number>, count: number, except: readonly string[] = []): string[] {
  const chosen = [...load.entries()]
    .filter(([nodeId]) => !except.includes(nodeId))
    .sort(([nodeA, a], [nodeB, b]) => a - b || (nodeA < nodeB ? -1 : 1))
    .slice(0, Math.max(count, 0))
    .map(([nodeId]) => nodeId);
  for (const nodeId of chosen) load.set(nodeId, load.get(nodeId)! + 1);
  return chosen;
}
