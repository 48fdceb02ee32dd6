import { setTimeout as pause } from 'node:timers/promises';
import type { Client } from '@temporalio/client';
import type { Catalog } from '../catalog/catalog.js';
import { livingBuilds } from '../catalog/processes.js';
import type { Logger } from '../log.js';
import { patience, succession, type WorkerBuild } from '../rules/worker-builds.js';
import { findDeployment, makeCurrent } from '../temporal/worker-deployments.js';

/** Until some build is current: operations wait for that. */
const FIRST_LOOK_MS = 250;
const LOOK_MS = 5_000;

/**
 * Sees to it that no work waits because the build that Temporal gives it to has no worker: makes the worker's own build
 * current when none is, or when what is current was left by all its workers (src/rules/worker-builds.ts).
 */
export class BuildSuccession {
  readonly #stopping = new AbortController();
  readonly #ended: Promise<void>;
  #abandonedLooks = 0;

  constructor(
    private readonly client: Client,
    private readonly catalog: Catalog,
    private readonly own: WorkerBuild,
    private readonly identity: string,
    private readonly log: Logger,
  ) {
    this.#ended = this.#watch();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#ended;
  }

  async #watch(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      let isSettled = false;
      try {
        isSettled = await this.#look();
      } catch (error) {
        // Temporal or the catalog is away: what the rest of the process reports.
        this.log.debug({ err: error }, 'cannot see which build is current');
      }
      await pause(isSettled ? LOOK_MS : FIRST_LOOK_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  /** Whether some build is current. */
  async #look(): Promise<boolean> {
    const { deployment, buildId } = this.own;
    const found = await findDeployment(this.client, deployment);
    const known = found?.builds.map((build) => build.buildId) ?? [];
    // Before its first poll it cannot be made current.
    if (found === undefined || !known.includes(buildId)) return false;
    const { current, token } = found;
    const living = await livingBuilds(this.catalog, deployment);
    const because = succession(buildId, { current, known, living });
    const { looks, acts } = patience(this.#abandonedLooks, because);
    this.#abandonedLooks = looks;
    if (!acts) return current !== undefined;
    if (await makeCurrent(this.client, deployment, buildId, { identity: this.identity, token })) {
      const message = because === 'FIRST' ? 'the first build' : 'no worker of the current build is left';
      this.log.warn({ deployment, build: buildId, before: current }, `${message}: this one is current now`);
      return true;
    }
    return current !== undefined;
  }
}
