import { WorkflowNotFoundError } from '@temporalio/client';
import type { TaskGroupEnded } from '../../workflows/jobs/run-job.js';
import type { Logger } from '../log.js';
import { jobWorkflowId } from '../rules/job-ids.js';
import type { LazyClient } from '../temporal/lazy-client.js';

const DEADLINE_MS = 2_000;

/** Tells the workflows of jobs what nodes have reported. */
export class JobSignals {
  constructor(
    private readonly temporal: LazyClient,
    private readonly log: Logger,
  ) {}

  /**
   * Never fails: what is told is on record by now, and a workflow that does not hear of it finds it at its next look. One that
   * is gone is driven on by the sweep.
   */
  async taskGroupEnded(jobId: string, news: TaskGroupEnded): Promise<void> {
    try {
      await this.temporal.ask(DEADLINE_MS, (client) =>
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
}
