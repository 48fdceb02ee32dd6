import { readTransport, type TransportSettings, WrongTransport } from '../model/transport.js';
import { Credentials } from '../rpc/credentials.js';
import { ACTOR_NAME } from '../rules/bounds.js';
import { text } from '../rules/input.js';
import { Coordinator } from './coordinator.js';
import { Databases } from './databases.js';
import { Doctor } from './doctor.js';
import { StewardError } from './errors.js';
import { Heals } from './heals.js';
import { Jobs } from './jobs.js';
import { Nodes } from './nodes.js';
import { Operations } from './operations.js';
import { OptimizerGroups } from './optimizer-groups.js';
import type { Overview } from './overview.js';
import { RegionGroups } from './region-groups.js';
import { Schedules } from './schedules.js';
import { Sweeps } from './sweeps.js';
import { Tables } from './tables.js';
import type { Temporal, TemporalTarget } from './temporal.js';
import { valid } from './validation.js';
import { Workers } from './workers.js';

export interface ConnectOptions {
  /** Base URL of a coordinator, such as `http://127.0.0.1:7400`. */
  readonly coordinatorUrl: string;
  /** Where Temporal is, or an open connection; by default the standard configuration (`TEMPORAL_ADDRESS`, profiles). */
  readonly temporal?: TemporalTarget;
  /** Of the Steward workers; `steward` by default. */
  readonly taskQueue?: string;
  /** Certificates and tokens for coordinator and nodes; by default as the environment says (`STEWARD_TLS_CA`, ...). */
  readonly transport?: TransportSettings;
  /** Who acts: stands on every operation that is started, and is named to whoever is refused because of it. */
  readonly actor: string;
}

/**
 * Steward for programs: the same nouns as the `steward` command. What changes a node is an operation, a workflow of
 * Temporal that goes on whether or not somebody waits for it. Every input is validated before anything is sent (I10), and
 * everything that fails is a `StewardError`.
 */
export class StewardClient {
  readonly nodes: Nodes;
  readonly databases: Databases;
  readonly regionGroups: RegionGroups;
  readonly operations: Operations;
  readonly sweeps: Sweeps;
  readonly tables: Tables;
  readonly heals: Heals;
  readonly schedules: Schedules;
  readonly workers: Workers;
  readonly optimizerGroups: OptimizerGroups;
  readonly jobs: Jobs;
  readonly doctor: Doctor;
  readonly #credentials: Credentials;
  readonly #coordinator: Coordinator;
  readonly #target: TemporalTarget;
  readonly #taskQueue: string;
  readonly #actor: string;
  #temporal: Promise<Temporal> | undefined;

  private constructor(options: ConnectOptions) {
    const actor = valid(() => text({ actor: options.actor }, 'actor', ACTOR_NAME));
    this.#actor = actor;
    this.#target = options.temporal ?? {};
    this.#taskQueue = options.taskQueue ?? 'steward';
    this.#credentials = credentialsOf(options);
    this.#coordinator = Coordinator.at(options.coordinatorUrl, this.#credentials);
    const temporal = () => this.#connectTemporal();
    this.nodes = new Nodes(this.#coordinator, this.#credentials, actor);
    this.operations = new Operations(this.#coordinator, temporal, actor);
    this.databases = new Databases(this.#coordinator, temporal, this.operations, actor);
    this.jobs = new Jobs(this.#coordinator, temporal, this.operations, actor);
    this.sweeps = new Sweeps(temporal, this.operations, actor);
    this.tables = new Tables(this.#coordinator, temporal, this.operations, actor);
    this.heals = new Heals(this.#coordinator, temporal, this.operations, actor);
    this.schedules = new Schedules(temporal, actor);
    this.optimizerGroups = new OptimizerGroups(this.#coordinator, temporal, actor);
    this.workers = new Workers(this.#coordinator, temporal, this.#taskQueue, actor);
    this.doctor = new Doctor({
      coordinator: this.#coordinator,
      temporal,
      taskQueue: this.#taskQueue,
      nodes: this.nodes,
      schedules: this.schedules,
      heals: this.heals,
      optimizerGroups: this.optimizerGroups,
      jobs: this.jobs,
      operations: this.operations,
      workers: this.workers,
    });
    this.regionGroups = new RegionGroups(this.#coordinator, temporal, this.operations, actor);
  }

  /**
   * A client. Each server is connected to when it is first asked something, so that what needs only one of them works
   * while the other is away.
   *
   * @throws StewardError INVALID_INPUT
   */
  static async connect(options: ConnectOptions): Promise<StewardClient> {
    return new StewardClient(options);
  }

  /** Everything at one moment, for one screen; what cannot be asked is told, and leaves out its part alone. */
  async overview(): Promise<Overview> {
    // Loaded before anybody is asked: no answer is read meanwhile.
    const [{ overview }] = await Promise.all([import('./overview.js'), import('./temporal.js')]);
    const coordinator = this.#coordinator.briefly();
    const temporal = () => this.#connectTemporal();
    const operations = new Operations(coordinator, temporal, this.#actor);
    return overview({
      nodes: new Nodes(coordinator, this.#credentials, this.#actor),
      operations,
      heals: new Heals(coordinator, temporal, operations, this.#actor),
      optimizerGroups: new OptimizerGroups(coordinator, temporal, this.#actor),
      jobs: new Jobs(coordinator, temporal, operations, this.#actor),
    });
  }

  /** Closes the connections that the client made. Operations go on. */
  async close(): Promise<void> {
    this.#coordinator.close();
    this.#credentials.close();
    const temporal = await this.#temporal?.catch(() => undefined);
    await temporal?.close();
  }

  #connectTemporal(): Promise<Temporal> {
    this.#temporal ??= import('./temporal.js')
      .then((module) => module.Temporal.connect(this.#target, this.#taskQueue))
      .catch((error: unknown) => {
        // The next question tries again.
        this.#temporal = undefined;
        throw error;
      });
    return this.#temporal;
  }
}

function credentialsOf({ transport }: ConnectOptions): Credentials {
  try {
    return new Credentials(transport ?? readTransport());
  } catch (error) {
    if (!(error instanceof WrongTransport)) throw error;
    throw new StewardError('INVALID_INPUT', error.message, { cause: error, details: { field: 'transport' } });
  }
}
