/** One replica of a region group on this node. */
export interface RegionKey {
  /** UUID of the catalog that knows the group. */
  readonly catalogId: string;
  readonly groupId: number;
}

/** `<catalog id>/<group id>` */
export function formatRegion(region: RegionKey): string {
  return `${region.catalogId}/${region.groupId}`;
}

/** The region of `<catalog id>/<group id>`; undefined for anything else. */
export function parseRegion(text: string): RegionKey | undefined {
  const match = /^([0-9a-f-]{36})\/([1-9]\d{0,14})$/.exec(text);
  return match === null ? undefined : { catalogId: match[1]!, groupId: Number(match[2]) };
}

/** Order of (catalog id, group id). */
export function compareRegions(a: RegionKey, b: RegionKey): number {
  if (a.catalogId !== b.catalogId) return a.catalogId < b.catalogId ? -1 : 1;
  return a.groupId - b.groupId;
}
