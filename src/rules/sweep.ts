/** A region as the node lists it. */
export interface HeldRegion {
  readonly groupId: number;
  readonly deleting: boolean;
}

/** A replica that the catalog has on that node. */
export interface ListedReplica {
  readonly groupId: number;
  readonly state: string;
}

export interface Differences {
  /** On the node, and the catalog does not list it there. */
  readonly leaked: readonly number[];
  /** RUNNING in the catalog, and not on the node. */
  readonly missing: readonly number[];
}

/**
 * What a node holds against what the catalog says (I4). Region groups under a claim are in flight: neither a leak nor
 * missing; nor is a region whose deletion runs.
 */
export function findDifferences(
  regions: readonly HeldRegion[],
  replicas: readonly ListedReplica[],
  claimed: ReadonlySet<number>,
): Differences {
  const held = new Set(regions.map(({ groupId }) => groupId));
  const listed = new Set(replicas.map(({ groupId }) => groupId));
  return {
    leaked: regions
      .filter(({ groupId, deleting }) => !deleting && !listed.has(groupId) && !claimed.has(groupId))
      .map(({ groupId }) => groupId),
    missing: replicas
      .filter(({ groupId, state }) => state === 'RUNNING' && !held.has(groupId) && !claimed.has(groupId))
      .map(({ groupId }) => groupId),
  };
}

/** What two looks at different moments have in common: whatever moved in between is in neither. */
export function confirmed(first: Differences, second: Differences): Differences {
  const both = (a: readonly number[], b: readonly number[]) => a.filter((id) => b.includes(id));
  return { leaked: both(first.leaked, second.leaked), missing: both(first.missing, second.missing) };
}
