import { Client, Connection } from '@temporalio/client';
import { clientInterceptors } from './client-spans.js';
import { temporalConfig } from './connection.js';
import type { Payloads } from './payloads.js';
import { Retries } from './retries.js';

/** A client of Temporal that connects when it is first needed. */
export class LazyClient {
  constructor(private readonly payloads: Payloads) {}

  readonly #retries = new Retries();
  #opened: Promise<{ readonly client: Client; readonly connection: Connection }> | undefined;

  /** Asks Temporal; fails when it does not answer in time. */
  async ask<T>(deadlineMs: number, question: (client: Client) => Promise<T>): Promise<T> {
    this.#opened ??= this.#open().catch((error: unknown) => {
      // The next question tries again.
      this.#opened = undefined;
      throw error;
    });
    const { client, connection } = await this.#opened;
    return connection.withDeadline(Date.now() + deadlineMs, () => question(client));
  }

  /** Questions that are open fail. */
  async close(): Promise<void> {
    const opened = await this.#opened?.catch(() => undefined);
    await this.#retries.end();
    await opened?.connection.close();
  }

  async #open() {
    const { connectionOptions, namespace } = temporalConfig();
    const interceptors = await clientInterceptors();
    const connection = Connection.lazy({ ...connectionOptions, interceptors: this.#retries.interceptors });
    const dataConverter = this.payloads.ofClient;
    return { connection, client: new Client({ connection, namespace, dataConverter, interceptors }) };
  }
}
