import { DATABASE_NAME } from '../rules/bounds.js';
import { text } from '../rules/input.js';
import type { Coordinator } from './coordinator.js';
import { databaseFrom } from './messages.js';
import type { Database } from './model.js';
import { valid } from './validation.js';

/** `client.databases` */
export class Databases {
  constructor(
    private readonly coordinator: Coordinator,
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
