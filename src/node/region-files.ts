import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isAbsent } from './disk.js';
import type { RegionKind, RegionSpec } from './region-store.js';

export const REGION_FILE = 'region.json';
/** Membership of the consensus group. */
export const PEER_FILE = 'peer.json';

/** What a region says about itself. */
export interface RegionFile {
  readonly database: string;
  readonly kind: RegionKind;
}

export function regionContent({ region, database, kind }: RegionSpec): string {
  return `${JSON.stringify({ ...region, database, kind })}\n`;
}

export function peerContent({ peers }: RegionSpec): string {
  return `${JSON.stringify({ peers })}\n`;
}

/** Undefined: there is none, or it is not whole. */
export function readRegionFile(directory: string): RegionFile | undefined {
  try {
    const { database, kind } = JSON.parse(
      readFileSync(join(directory, REGION_FILE), 'utf8'),
    ) as Partial<RegionFile>;
    if (typeof database !== 'string' || (kind !== 'SCHEMA' && kind !== 'DATA')) return undefined;
    return { database, kind };
  } catch (error) {
    if (isAbsent(error) || error instanceof SyntaxError) return undefined;
    throw error;
  }
}
