import { Client, Connection } from '@temporalio/client';
import { stewardActor, stewardResource } from '../../workflows/search-attributes.js';
import type { ProcessRef } from '../catalog/optimizing/settling.js';
import { temporalConfig } from '../temporal/connection.js';

const DEADLINE_MS = 3_000;
const ACTOR = 'coordinator';

/** Starts commitTable. Connects to Temporal when it is first needed. */
export class CommitStarter {
  #opened: { readonly client: Client; readonly connection: Connection } | undefined;

  constructor(private readonly taskQueue: string) {}

  /** One that runs already is fine. Fails when Temporal does not answer; then it may be asked again. */
  async start({ tableId, table, processId }: ProcessRef): Promise<void> {
    const { client, connection } = this.#open();
    await connection.withDeadline(Date.now() + DEADLINE_MS, () =>
      client.workflow.start('commitTable', {
        workflowId: `table/${tableId}/commit/${processId}`,
        taskQueue: this.taskQueue,
        args: [{ table, process: processId, actor: ACTOR }],
        workflowIdConflictPolicy: 'USE_EXISTING',
        workflowIdReusePolicy: 'ALLOW_DUPLICATE',
        staticSummary: `commit process ${processId} of table ${table}`,
        typedSearchAttributes: [
          { key: stewardResource, value: `table/${tableId}` },
          { key: stewardActor, value: ACTOR },
        ],
      }),
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
