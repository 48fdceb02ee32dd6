import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { Catalog } from './catalog/catalog.js';
import { type ControlProcess, forgetProcess, TOLD_EVERY_MS, tellProcess } from './catalog/processes.js';
import type { Logger } from './log.js';
import type { Settings } from './model/settings.js';
import type { WorkerBuild } from './rules/worker-builds.js';
import { version } from './version.js';

/** Tells the catalog every few seconds that this process of the control plane runs, until it is stopped. */
export class Telling {
  readonly #process: ControlProcess;
  readonly #timer: NodeJS.Timeout;
  #telling: Promise<void>;

  constructor(
    private readonly catalog: Catalog,
    kind: ControlProcess['kind'],
    settings: Pick<Settings, 'taskQueue' | 'nodeTimeoutMs'>,
    private readonly log: Logger,
    build?: WorkerBuild,
  ) {
    const { taskQueue, nodeTimeoutMs } = settings;
    this.#process = {
      processId: randomUUID(),
      kind,
      version: version(),
      host: hostname(),
      pid: process.pid,
      taskQueue,
      nodeTimeoutMs,
      build,
    };
    // Also takes along what killed processes left long ago.
    this.#telling = forgetProcess(catalog, this.#process.processId)
      .catch(() => {})
      .then(() => this.#tell());
    this.#timer = setInterval(() => {
      this.#telling = this.#telling.then(() => this.#tell());
    }, TOLD_EVERY_MS);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#telling;
    await forgetProcess(this.catalog, this.#process.processId).catch(() => {});
  }

  /** A catalog that is away is what the rest of the process reports. */
  async #tell(): Promise<void> {
    try {
      await tellProcess(this.catalog, this.#process);
    } catch (error) {
      this.log.debug({ err: error }, 'cannot tell the catalog that this process runs');
    }
  }
}
