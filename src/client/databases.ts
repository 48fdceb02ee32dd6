import type { DatabaseDeletionResult } from '../../workflows/regions/delete-database.js';
import { DATABASE_NAME } from '../rules/bounds.js';
import { deleteDatabaseInput, text } from '../rules/input.js';
import type { Coordinator } from './coordinator.js';
import { databaseFrom } from './messages.js';
import type { Database } from './model.js';
import type { Ended, OperationHandle } from './operation-handle.js';
import type { Operations } from './operations.js';
import type { Temporal } from './temporal.js';
import { valid } from './validation.js';

/** `client.databases` */
export class Databases {
  constructor(
    private readonly coordinator: Coordinator,
    private readonly temporal: () => Promise<Temporal>,
    private readonly operations: Operations,
    private readonly actor: string,
  ) {}

  /**
   * Makes a database, ACTIVE and empty; it needs no node, so it is done when this returns.
   *
   * @throws StewardError INVALID_INPUT; ALREADY_EXISTS; REJECTED while one of that name is being deleted
   */
  async create(input: { readonly name: string }): Promise<Database> {
    const name = databaseName(input.name);
    await this.coordinator.ask((catalog) => catalog.createDatabase({ name, actor: this.actor }));
    return this.get(name);
  }

  /**
   * Starts the deletion of a database with all its region groups; it ends when every node has confirmed (I1, I4). Creations,
   * recreations and removals in flight are superseded.
   *
   * @throws StewardError INVALID_INPUT; HELD by the deletion that runs already; UNAVAILABLE
   */
  async delete(name: string): Promise<OperationHandle<Ended<DatabaseDeletionResult>>> {
    const input = valid(() => deleteDatabaseInput({ database: name, actor: this.actor }));
    const temporal = await this.temporal();
    const workflowId = `database/${input.database}/delete`;
    const { runId, attached } = await temporal.start({
      workflowType: 'deleteDatabase',
      workflowId,
      input,
      summary: `delete database ${input.database}`,
      details: `Deletes database ${input.database} with all its region groups. Asked by ${this.actor}.`,
      database: input.database,
      resource: `database/${input.database}`,
    });
    return this.operations.handleOf(temporal, workflowId, runId, attached);
  }

  /** All databases, in the order of names. */
  async list(): Promise<Database[]> {
    const { databases } = await this.coordinator.ask((catalog) => catalog.listDatabases({}));
    return databases.map(databaseFrom);
  }

  /** @throws StewardError INVALID_INPUT, NOT_FOUND */
  async get(name: string): Promise<Database> {
    const request = { name: databaseName(name) };
    const { database } = await this.coordinator.ask((catalog) => catalog.getDatabase(request));
    return databaseFrom(database!);
  }
}

/** @throws StewardError INVALID_INPUT */
export function databaseName(name: unknown): string {
  return valid(() => text({ name }, 'name', DATABASE_NAME));
}
