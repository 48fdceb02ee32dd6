import type { Database } from 'lmdb';
import { type EffectContext, EffectError } from './facility.js';
import type { Ledger } from './ledger.js';
import type { RegionKey } from './region-key.js';
import type {
  FoundRegion,
  Recovery,
  RegionKind,
  RegionQuery,
  RegionSpec,
  RegionStore,
} from './region-store.js';

type Key = [catalogId: string, groupId: number];

interface Entry {
  readonly database: string;
  readonly kind: RegionKind;
  readonly peers: readonly string[];
  readonly appearedAtMs: number;
}

/** Regions that are entries next to the ledger and nothing else: what is left to measure is the control plane. */
export class LedgerRegions implements RegionStore {
  readonly #regions: Database<Entry, Key>;

  constructor(private readonly ledger: Ledger) {
    this.#regions = ledger.root.openDB({ name: 'regions' });
  }

  /** A single entry is there or not: a crash leaves nothing behind. */
  async recover(): Promise<Recovery> {
    return { halfMade: [], emptied: [] };
  }

  has(region: RegionKey): boolean {
    return this.#regions.get(keyOf(region)) !== undefined;
  }

  async create(spec: RegionSpec, context: EffectContext): Promise<void> {
    const { region, database, kind, peers } = spec;
    await context.midway();
    context.signal.throwIfAborted();
    const found = this.#regions.get(keyOf(region));
    if (found !== undefined && (found.database !== database || found.kind !== kind)) {
      const asked = `asked for ${kind} of ${database}`;
      throw new EffectError(
        'ALREADY_EXISTS',
        `the region exists as ${found.kind} of ${found.database}, ${asked}`,
      );
    }
    if (found === undefined) {
      await this.#regions.put(keyOf(region), { database, kind, peers, appearedAtMs: this.ledger.now() });
    }
    context.report({ done: 1, total: 1 });
  }

  async delete(region: RegionKey, context: EffectContext): Promise<void> {
    await context.midway();
    context.signal.throwIfAborted();
    await this.#regions.remove(keyOf(region));
    context.report({ done: 1, total: 1 });
  }

  async list({ after, catalogId, limit }: RegionQuery): Promise<readonly FoundRegion[]> {
    const start: Key | undefined =
      after !== undefined ? keyOf(after) : catalogId !== undefined ? [catalogId, 0] : undefined;
    const range = this.#regions.getRange(
      start === undefined ? {} : { start, exclusiveStart: after !== undefined },
    );
    const found: FoundRegion[] = [];
    for (const { key, value } of range) {
      if (found.length >= limit) break;
      if (catalogId !== undefined && key[0] !== catalogId) {
        if (key[0] > catalogId) break;
        continue;
      }
      const { database, kind, appearedAtMs } = value;
      const region = { catalogId: key[0], groupId: key[1] };
      found.push({ region, database, kind, state: 'PRESENT', sizeBytes: 0, appearedAtMs });
    }
    return found;
  }
}

function keyOf(region: RegionKey): Key {
  return [region.catalogId, region.groupId];
}
