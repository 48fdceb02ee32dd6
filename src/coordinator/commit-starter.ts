import type { ProcessRef } from '../rules/words.js';
import { startCommitTable } from '../temporal/commit-table.js';
import type { LazyClient } from '../temporal/lazy-client.js';

const DEADLINE_MS = 3_000;
const ACTOR = 'coordinator';

/** Starts commitTable. */
export class CommitStarter {
  constructor(
    private readonly temporal: LazyClient,
    private readonly taskQueue: string,
  ) {}

  /** One that runs already is fine. Fails when Temporal does not answer; then it may be asked again. */
  async start(ref: ProcessRef): Promise<void> {
    await this.temporal.ask(DEADLINE_MS, (client) => startCommitTable(client, this.taskQueue, ref, ACTOR));
  }
}
