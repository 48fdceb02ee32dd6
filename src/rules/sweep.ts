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

/** An optimizer's resource as a node lists it. */
export interface HeldResource {
  readonly resourceId: string;
  /** The highest launch that the node accepted. */
  readonly epoch: number;
}

/** A resource as the catalog has it; without a node it was asked of none yet. */
export interface PlacedResource {
  readonly resourceId: string;
  readonly nodeId: string | null;
  readonly epoch: number;
}

/** An optimizer's resource that a node holds and should not. */
export interface Stray {
  readonly resourceId: string;
  /** FORGOTTEN: the catalog does not know it. MOVED: it was launched elsewhere since. */
  readonly because: 'FORGOTTEN' | 'MOVED';
  /**
   * The launch that ends it: none that the node accepted is above it, and any that the catalog will ask of it again is (I9).
   * Of one that MOVED never above the catalog's own, which would look like a catalog that is behind its nodes.
   */
  readonly releaseEpoch: number;
}

/**
 * What a node holds of optimizers against what the catalog says (I4). A row is there before a node is asked for it, and goes
 * after the node has let go: so what is listed first and looked up then needs no grace.
 */
export function findStrays(
  nodeId: string,
  held: readonly HeldResource[],
  placed: ReadonlyMap<string, PlacedResource>,
): Stray[] {
  return held.flatMap(({ resourceId, epoch }): Stray[] => {
    const row = placed.get(resourceId);
    if (row === undefined) return [{ resourceId, because: 'FORGOTTEN', releaseEpoch: epoch + 1 }];
    if (row.nodeId === nodeId || row.nodeId === null) return [];
    return [{ resourceId, because: 'MOVED', releaseEpoch: row.epoch }];
  });
}

/** Resources of which the node accepted a launch that the catalog has not made: the catalog is behind. */
export function launchesAhead(
  held: readonly HeldResource[],
  placed: ReadonlyMap<string, PlacedResource>,
): HeldResource[] {
  return held.filter(({ resourceId, epoch }) => epoch > (placed.get(resourceId)?.epoch ?? epoch));
}
