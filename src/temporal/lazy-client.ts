import { Client, Connection } from '@temporalio/client';
import { temporalConfig } from './connection.js';
import type { Payloads } from './payloads.js';

/** A client of Temporal that connects when it is first needed. */
export class LazyClient {
  constructor(private readonly payloads: Payloads) {}

  #opened: { readonly client: Client; readonly connection: Connection } | undefined;

  /** Asks Temporal; fails when it does not answer in time. */
  async ask<T>(deadlineMs: number, question: (client: Client) => Promise<T>): Promise<T> {
    const { client, connection } = this.#open();
    return connection.withDeadline(Date.now() + deadlineMs, () => question(client));
  }

  async close(): Promise<void> {
    await this.#opened?.connection.close();
  }

  #open() {
    if (this.#opened === undefined) {
      const { connectionOptions, namespace } = temporalConfig();
      const connection = Connection.lazy(connectionOptions);
      this.#opened = {
        connection,
        client: new Client({ connection, namespace, dataConverter: this.payloads.ofClient }),
      };
    }
    return this.#opened;
  }
}
