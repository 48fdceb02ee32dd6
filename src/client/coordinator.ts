import { type Client, createClient, type Transport } from '@connectrpc/connect';
import { RpcConnection } from '../rpc/connection.js';
import type { Credentials } from '../rpc/credentials.js';
import { CatalogService } from '../rpc/gen/steward/coordinator/v1/catalog_pb.js';
import { HealService } from '../rpc/gen/steward/coordinator/v1/heal_pb.js';
import { JobService } from '../rpc/gen/steward/coordinator/v1/jobs_pb.js';
import { OptimizerGroupService } from '../rpc/gen/steward/coordinator/v1/optimizer_groups_pb.js';
import { TableService } from '../rpc/gen/steward/coordinator/v1/tables_pb.js';
import { StewardError } from './errors.js';

const DEADLINE_MS = 10_000;
/** What only complements an answer does not hold it up for longer. */
const GLANCE_MS = 4_000;

/** The coordinator as the client asks it: one connection, made at the first question. */
export class Coordinator {
  readonly #name: string;
  readonly #connection: RpcConnection;
  readonly #brief: boolean;
  /** Of a brief one: why it is not asked again. */
  #silence: StewardError | undefined;
  readonly #catalog: Client<typeof CatalogService>;
  readonly #heals: Client<typeof HealService>;
  readonly #tables: Client<typeof TableService>;
  readonly #optimizerGroups: Client<typeof OptimizerGroupService>;
  readonly #jobs: Client<typeof JobService>;

  private constructor(name: string, connection: RpcConnection, transport: Transport, brief: boolean) {
    this.#name = name;
    this.#connection = connection;
    this.#brief = brief;
    this.#catalog = createClient(CatalogService, transport);
    this.#heals = createClient(HealService, transport);
    this.#tables = createClient(TableService, transport);
    this.#optimizerGroups = createClient(OptimizerGroupService, transport);
    this.#jobs = createClient(JobService, transport);
  }

  /** @throws StewardError INVALID_INPUT when the URL is none */
  static at(url: string, credentials: Credentials): Coordinator {
    const base = URL.canParse(url) ? new URL(url) : undefined;
    if (base?.protocol !== 'http:' && base?.protocol !== 'https:') {
      throw new StewardError(
        'INVALID_INPUT',
        `coordinatorUrl: expected a URL like http://127.0.0.1:7400, got ${url}`,
        {
          details: { field: 'coordinatorUrl' },
        },
      );
    }
    const connection = new RpcConnection(url, credentials, { deadlineMs: DEADLINE_MS });
    return new Coordinator(`the coordinator at ${url}`, connection, connection.transport, false);
  }

  /**
   * The same over the same connection, for one answer that it only complements: it has {@link GLANCE_MS} to answer, and once it
   * did not, every further question fails at once.
   */
  briefly(): Coordinator {
    if (this.#brief) return this;
    return new Coordinator(this.#name, this.#connection, withDeadline(this.#connection.transport), true);
  }

  /** Asks; what fails becomes a StewardError. */
  ask<T>(question: (catalog: Client<typeof CatalogService>) => Promise<T>): Promise<T> {
    return this.#answer(() => question(this.#catalog));
  }

  askHeals<T>(question: (heals: Client<typeof HealService>) => Promise<T>): Promise<T> {
    return this.#answer(() => question(this.#heals));
  }

  askTables<T>(question: (tables: Client<typeof TableService>) => Promise<T>): Promise<T> {
    return this.#answer(() => question(this.#tables));
  }

  askOptimizerGroups<T>(question: (groups: Client<typeof OptimizerGroupService>) => Promise<T>): Promise<T> {
    return this.#answer(() => question(this.#optimizerGroups));
  }

  askJobs<T>(question: (jobs: Client<typeof JobService>) => Promise<T>): Promise<T> {
    return this.#answer(() => question(this.#jobs));
  }

  async #answer<T>(question: () => Promise<T>): Promise<T> {
    if (this.#silence !== undefined) throw this.#silence;
    try {
      return await question();
    } catch (error) {
      const told = StewardError.from(error, this.#name);
      if (this.#brief && told.code === 'UNAVAILABLE') this.#silence = told;
      throw told;
    }
  }

  close(): void {
    this.#connection.close();
  }
}

/** With the deadline of a glance for calls that name none. */
function withDeadline(transport: Transport): Transport {
  return {
    unary: (method, signal, timeoutMs = GLANCE_MS, ...call) =>
      transport.unary(method, signal, timeoutMs, ...call),
    stream: (method, signal, timeoutMs = GLANCE_MS, ...call) =>
      transport.stream(method, signal, timeoutMs, ...call),
  };
}
