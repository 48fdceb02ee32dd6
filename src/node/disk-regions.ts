import {
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  unlinkSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { setImmediate as nextTurn, setTimeout as pause } from 'node:timers/promises';
import { messageOf } from '../message-of.js';
import {
  directoriesIn,
  filesUnder,
  flushDirectory,
  flushFile,
  isAbsent,
  removeIfEmpty,
  writeWhole,
} from './disk.js';
import { type EffectContext, EffectError } from './facility.js';
import { Gate } from './gate.js';
import { PEER_FILE, peerContent, REGION_FILE, readRegionFile, regionContent } from './region-files.js';
import { compareRegions, formatRegion, parseRegion, type RegionKey } from './region-key.js';
import type { FoundRegion, Recovery, RegionQuery, RegionSpec, RegionStore } from './region-store.js';
import { Interrupted } from './resource-queues.js';

export interface DiskRegionsOptions {
  /** The node's data directory. */
  readonly path: string;
  /** Data files of a new region. */
  readonly filesPerRegion: number;
  /** Size of each of them. */
  readonly fileBytes: number;
  /** What removing one file takes at least, so that a region can be as slow to remove as a large one. */
  readonly deleteFileMs: number;
}

/** Creations and removals that touch the disk at a time; what they wait for (flushes) is shared between them. */
const WIDTH = 16;
/** Files removed, or regions looked at, before other work gets its turn. */
const CHUNK = 64;

/**
 * Regions as directories that one can look into:
 *
 * ```
 * <data>/regions/<catalog id>/<group id>/  region.json, peer.json (membership of the consensus group), data files
 * <data>/staging/<catalog id>.<group id>/  a region that is being made; renamed into place when all of it is flushed
 * <data>/trash/<catalog id>/<group id>/    what is left of regions whose deletion has begun
 * ```
 *
 * File calls are synchronous in short runs (the promise API costs ten times as much), flushes are not.
 */
export class DiskRegions implements RegionStore {
  readonly #regions: string;
  readonly #staging: string;
  readonly #trash: string;
  readonly #gate = new Gate(WIDTH);
  readonly #content: Buffer;

  constructor(private readonly options: DiskRegionsOptions) {
    this.#regions = join(options.path, 'regions');
    this.#staging = join(options.path, 'staging');
    this.#trash = join(options.path, 'trash');
    this.#content = Buffer.alloc(options.fileBytes, 'steward ');
    for (const directory of [this.#regions, this.#staging, this.#trash]) {
      mkdirSync(directory, { recursive: true });
    }
  }

  async recover(isBeingDeleted: (region: RegionKey) => boolean): Promise<Recovery> {
    const halfMade: RegionKey[] = [];
    for (const name of readdirSync(this.#staging)) {
      const region = parseRegion(name.replace('.', '/'));
      if (region !== undefined) halfMade.push(region);
      rmSync(join(this.#staging, name), { recursive: true, force: true });
    }
    const emptied: RegionKey[] = [];
    for (const region of this.#regionsUnder(this.#trash)) {
      if (isBeingDeleted(region)) continue;
      await this.#emptyTrash(region, undefined);
      emptied.push(region);
    }
    return { halfMade, emptied };
  }

  has(region: RegionKey): boolean {
    return existsSync(this.#directoryOf(region));
  }

  async create(spec: RegionSpec, context: EffectContext): Promise<void> {
    const stage = join(this.#staging, formatRegion(spec.region).replace('/', '.'));
    try {
      const isThere = await this.#gate.run(async () => {
        context.signal.throwIfAborted();
        if (this.#existsAsAsked(spec)) return true;
        const files = await this.#stage(spec, stage);
        context.report({ done: files, total: files });
        return false;
      });
      await context.midway();
      if (isThere) return;
      context.signal.throwIfAborted();
      await this.#gate.run(() => this.#publish(stage, this.#directoryOf(spec.region)));
    } catch (error) {
      throw failed(error, `cannot make region ${formatRegion(spec.region)}`, () =>
        rmSync(stage, { recursive: true, force: true }),
      );
    }
  }

  async delete(region: RegionKey, context: EffectContext): Promise<void> {
    try {
      await this.#gate.run(async () => {
        context.signal.throwIfAborted();
        this.#removePeer(region);
        await this.#moveToTrash(region);
      });
      await context.midway();
      await this.#emptyTrash(region, context);
    } catch (error) {
      throw failed(error, `cannot remove region ${formatRegion(region)}`);
    }
  }

  async list(query: RegionQuery): Promise<readonly FoundRegion[]> {
    const found: FoundRegion[] = [];
    let looked = 0;
    for (const region of this.#regionsUnder(this.#regions, this.#trash)) {
      if (found.length >= query.limit) break;
      if (query.catalogId !== undefined && query.catalogId !== region.catalogId) continue;
      if (query.after !== undefined && compareRegions(region, query.after) <= 0) continue;
      if (++looked % CHUNK === 0) await nextTurn();
      const info = this.#describe(region);
      if (info !== undefined) found.push(info);
    }
    return found;
  }

  #directoryOf(region: RegionKey): string {
    return join(this.#regions, region.catalogId, String(region.groupId));
  }

  #trashOf(region: RegionKey): string {
    return join(this.#trash, region.catalogId, String(region.groupId));
  }

  #existsAsAsked(spec: RegionSpec): boolean {
    const directory = this.#directoryOf(spec.region);
    if (!existsSync(directory)) return false;
    const found = readRegionFile(directory);
    if (found?.database !== spec.database || found.kind !== spec.kind) {
      const what = found === undefined ? 'without a region.json' : `as ${found.kind} of ${found.database}`;
      throw new EffectError(
        'ALREADY_EXISTS',
        `${directory} exists ${what}, asked for ${spec.kind} of ${spec.database}`,
      );
    }
    // A deletion that failed after its first step has left the region without its peer.
    const peer = join(directory, PEER_FILE);
    if (!existsSync(peer)) writeWhole(peer, peerContent(spec), closeSync);
    return true;
  }

  /** Writes and flushes all of a region in the staging directory; returns the number of its files. */
  async #stage(spec: RegionSpec, stage: string): Promise<number> {
    rmSync(stage, { recursive: true, force: true });
    mkdirSync(stage);
    const open: number[] = [];
    const keep = (file: number): void => void open.push(file);
    try {
      writeWhole(join(stage, REGION_FILE), regionContent(spec), keep);
      writeWhole(join(stage, PEER_FILE), peerContent(spec), keep);
      for (let file = 1; file <= this.options.filesPerRegion; file += 1) {
        writeWhole(join(stage, `data-${String(file).padStart(4, '0')}`), this.#content, keep);
      }
      keep(openSync(stage, 'r'));
      const flushes = await Promise.allSettled(open.map((file) => flushFile(file)));
      for (const flush of flushes) if (flush.status === 'rejected') throw flush.reason;
    } finally {
      for (const file of open) closeSync(file);
    }
    return 2 + this.options.filesPerRegion;
  }

  async #publish(stage: string, directory: string): Promise<void> {
    const catalog = dirname(directory);
    const isNew = mkdirSync(catalog, { recursive: true }) !== undefined;
    renameSync(stage, directory);
    await flushDirectory(catalog);
    if (isNew) await flushDirectory(this.#regions);
  }

  #removePeer(region: RegionKey): void {
    const peer = join(this.#directoryOf(region), PEER_FILE);
    try {
      unlinkSync(peer);
    } catch (error) {
      if (isAbsent(error)) return;
      throw new EffectError('PEER_REMOVAL_FAILED', `cannot remove the peer ${peer}: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }

  async #moveToTrash(region: RegionKey): Promise<void> {
    const directory = this.#directoryOf(region);
    if (!existsSync(directory)) return;
    const trash = this.#trashOf(region);
    mkdirSync(trash, { recursive: true });
    // What an earlier deletion could not remove may still be there: a place of its own for each.
    let place = readdirSync(trash).length + 1;
    while (existsSync(join(trash, String(place)))) place += 1;
    renameSync(directory, join(trash, String(place)));
    await flushDirectory(dirname(directory));
  }

  async #emptyTrash(region: RegionKey, context: EffectContext | undefined): Promise<void> {
    const trash = this.#trashOf(region);
    const files = existsSync(trash) ? filesUnder(trash) : [];
    // What the region says about itself goes last, so that the inventory can name it until then.
    files.sort((a, b) => Number(basename(a) === REGION_FILE) - Number(basename(b) === REGION_FILE));
    const total = Math.max(context?.progress.total ?? 0, files.length);
    let done = total - files.length;
    const remove = (file: string): void => {
      unlinkSync(file);
      done += 1;
    };
    if (context !== undefined && this.options.deleteFileMs > 0) {
      context.report({ done, total });
      for (const file of files) {
        await pause(this.options.deleteFileMs, undefined, { signal: context.signal }).catch(() => undefined);
        context.signal.throwIfAborted();
        remove(file);
        context.report({ done, total });
      }
    } else {
      for (let start = 0; start < files.length; start += CHUNK) {
        context?.signal.throwIfAborted();
        await this.#gate.run(async () => {
          for (const file of files.slice(start, start + CHUNK)) remove(file);
          if (start + CHUNK < files.length) await nextTurn();
        });
        context?.report({ done, total });
      }
    }
    rmSync(trash, { recursive: true, force: true });
    removeIfEmpty(dirname(trash));
    context?.report({ done: total, total });
  }

  /** Regions that have a directory under any of the roots, in order. */
  #regionsUnder(...roots: readonly string[]): RegionKey[] {
    const keys = new Map<string, RegionKey>();
    for (const root of roots) {
      for (const catalog of readdirSync(root, { withFileTypes: true })) {
        if (!catalog.isDirectory()) continue;
        for (const group of directoriesIn(join(root, catalog.name))) {
          const key = parseRegion(`${catalog.name}/${group}`);
          if (key !== undefined) keys.set(formatRegion(key), key);
        }
      }
    }
    return [...keys.values()].sort(compareRegions);
  }

  /** The region as it is now; undefined when it went away meanwhile. */
  #describe(region: RegionKey): FoundRegion | undefined {
    const directory = this.#directoryOf(region);
    const isInTrash = !existsSync(directory);
    const home = isInTrash ? this.#trashHome(region) : directory;
    try {
      const file = readRegionFile(home);
      const hasLostPeer = file !== undefined && !existsSync(join(home, PEER_FILE));
      const files = filesUnder(home).map((path) => ({ path, stat: lstatSync(path) }));
      const own = files.find(({ path }) => basename(path) === REGION_FILE)?.stat ?? lstatSync(home);
      return {
        region,
        database: file?.database ?? '',
        kind: file?.kind,
        state: isInTrash || hasLostPeer ? 'DELETING' : 'PRESENT',
        sizeBytes: files.reduce((sum, { stat }) => sum + stat.size, 0),
        appearedAtMs: own.mtimeMs,
      };
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw error;
    }
  }

  #trashHome(region: RegionKey): string {
    const trash = this.#trashOf(region);
    const places = directoriesIn(trash);
    return places.length === 1 ? join(trash, places[0]!) : trash;
  }
}

/** The error that an effect ends with, after `cleanUp`; an interruption stays what it is. */
function failed(error: unknown, doing: string, cleanUp?: () => void): Error {
  try {
    cleanUp?.();
  } catch (leftOver) {
    return new EffectError(
      'IO',
      `${doing}: ${messageOf(error)}; and cannot clean up: ${messageOf(leftOver)}`,
      {
        cause: error,
      },
    );
  }
  if (error instanceof EffectError || error instanceof Interrupted) return error;
  return new EffectError('IO', `${doing}: ${messageOf(error)}`, { cause: error });
}
