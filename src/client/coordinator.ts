import { type Client, createClient } from '@connectrpc/connect';
import { RpcConnection } from '../rpc/connection.js';
import type { Credentials } from '../rpc/credentials.js';
import { CatalogService } from '../rpc/gen/steward/coordinator/v1/catalog_pb.js';
import { HealService } from '../rpc/gen/steward/coordinator/v1/heal_pb.js';
import { JobService } from '../rpc/gen/steward/coordinator/v1/jobs_pb.js';
import { OptimizerGroupService } from '../rpc/gen/steward/coordinator/v1/optimizer_groups_pb.js';
import { TableService } from '../rpc/gen/steward/coordinator/v1/tables_pb.js';
import { StewardError } from './errors.js';

const DEADLINE_MS = 10_000;

/** The coordinator as the client asks it: one connection, made at the first question. */
export class Coordinator {
  readonly #connection: RpcConnection;
  readonly #catalog: Client<typeof CatalogService>;
  readonly #heals: Client<typeof HealService>;
  readonly #tables: Client<typeof TableService>;
  readonly #optimizerGroups: Client<typeof OptimizerGroupService>;
  readonly #jobs: Client<typeof JobService>;
  readonly #name: string;

  /** @throws StewardError INVALID_INPUT when the URL is none */
  constructor(url: string, credentials: Credentials) {
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
    this.#name = `the coordinator at ${url}`;
    this.#connection = new RpcConnection(url, credentials, { deadlineMs: DEADLINE_MS });
    this.#catalog = createClient(CatalogService, this.#connection.transport);
    this.#heals = createClient(HealService, this.#connection.transport);
    this.#tables = createClient(TableService, this.#connection.transport);
    this.#optimizerGroups = createClient(OptimizerGroupService, this.#connection.transport);
    this.#jobs = createClient(JobService, this.#connection.transport);
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
    try {
      return await question();
    } catch (error) {
      throw StewardError.from(error, this.#name);
    }
  }

  close(): void {
    this.#connection.close();
  }
}
