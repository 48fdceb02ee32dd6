import type { EffectContext } from './facility.js';
import type { RegionKey } from './region-key.js';

export type RegionKind = 'SCHEMA' | 'DATA';

/** A region as it is wanted. */
export interface RegionSpec {
  readonly region: RegionKey;
  readonly database: string;
  readonly kind: RegionKind;
  /** Node ids of all replicas of the group. */
  readonly peers: readonly string[];
}

/** A region as it is on the node, whether an operation made it or a hand did. */
export interface FoundRegion {
  readonly region: RegionKey;
  /** Empty when the region does not say. */
  readonly database: string;
  /** Undefined when the region does not say. */
  readonly kind: RegionKind | undefined;
  readonly state: 'PRESENT' | 'DELETING';
  readonly sizeBytes: number;
  readonly appearedAtMs: number;
}

/** What a crash left behind, found when the store was opened. */
export interface Recovery {
  /** Regions whose creation was cut short; what had been written of them is gone again (I4). */
  readonly halfMade: readonly RegionKey[];
  /** Regions whose left-over trash, owed by no operation, was emptied. */
  readonly emptied: readonly RegionKey[];
}

/** Where the node keeps its regions. What it tells is what is there, not what was asked for. */
export interface RegionStore {
  /**
   * Cleans up after a crash. Trash of regions for which `isBeingDeleted` holds is left for the deletion that is resumed.
   */
  recover(isBeingDeleted: (region: RegionKey) => boolean): Promise<Recovery>;
  has(region: RegionKey): boolean;
  /** Makes the region as a whole or not at all. Done as well when it exists with this database and kind. */
  create(spec: RegionSpec, context: EffectContext): Promise<void>;
  /** Removes the peer, then the data; done when nothing of the region is left, also when nothing was there. */
  delete(region: RegionKey, context: EffectContext): Promise<void>;
  /** Regions of which anything is left, in the order of (catalog id, group id), after `after`. */
  list(query: RegionQuery): Promise<readonly FoundRegion[]>;
}

export interface RegionQuery {
  readonly limit: number;
  readonly after?: RegionKey | undefined;
  readonly catalogId?: string | undefined;
}
