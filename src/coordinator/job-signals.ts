import { Client, Connection, WorkflowNotFoundError } from '@temporalio/client';
import type { TaskGroupEnded } from '../../workflows/jobs/run-job.js';
import type { Logger } from '../log.js';
import { jobWorkflowId } from '../rules/job-ids.js';
import { temporalConfig } from '../temporal/connection.js';

const DEADLINE_MS = 2_000;

/** Tells the workflows of jobs what nodes have reported. Connects to Temporal when it is first needed. */
export class JobSignals {
  #opened: { readonly client: Client; readonly connection: Connection } | undefined;

  constructor(private readonly log: Logger) {}

  /**
   * Never fails: what is told is on record by now, and a workflow that does not hear of it finds it at its next look. One that
   * is gone is driven on by the sweep.
   */
  async taskGroupEnded(jobId: string, news: TaskGroupEnded): Promise<void> {
    try {
      const { client, connection } = this.#open();
      await connection.withDeadline(Date.now() + DEADLINE_MS, () =>
        client.workflow.getHandle(jobWorkflowId(jobId)).signal('taskGroupEnded', news),
      );
    } catch (error) {
      const gone = error instanceof WorkflowNotFoundError;
      this.log.warn(
        { job: jobId, ...news, ...(!gone && { err: error }) },
        gone ? 'the workflow of the job is gone' : 'the workflow of the job was not told',
      );
    }
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
