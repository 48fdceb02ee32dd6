import { Client, Connection } from '@temporalio/client';
import type { ProcessRef } from '../catalog/optimizing/settling.js';
import { startCommitTable } from '../temporal/commit-table.js';
import { temporalConfig } from '../temporal/connection.js';

const DEADLINE_MS = 3_000;
const ACTOR = 'coordinator';

/** Starts commitTable. Connects to Temporal when it is first needed. */
export class CommitStarter {
  #opened: { readonly client: Client; readonly connection: Connection } | undefined;

  constructor(private readonly taskQueue: string) {}

  /** One that runs already is fine. Fails when Temporal does not answer; then it may be asked again. */
  async start(ref: ProcessRef): Promise<void> {
    const { client, connection } = this.#open();
    await connection.withDeadline(Date.now() + DEADLINE_MS, () =>
      startCommitTable(client, this.taskQueue, ref, ACTOR),
    );
  }

  async close(): Promise<void> {
    await this.#opened?.connection.close();
  }

  #open() {
    if (this.#opened === undefined) {
      const { connectionOptions, namespace } = temporalConfig();
      const connection = Connection.lazy(connectionOptions);
      this.#opened = { connection, client: new Client({ connection, namespace }) };
    }
    return this.#opened;
  }
}
