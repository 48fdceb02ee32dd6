import { randomUUID } from 'node:crypto';
import type { DrainResult } from '../../workflows/regions/drain-legacy-queue.js';
import type { SweepResult } from '../../workflows/regions/sweep-replicas.js';
import { drainLegacyQueueInput, type RepairMode, sweepReplicasInput } from '../rules/input.js';
import type { OperationHandle } from './operation-handle.js';
import type { Operations } from './operations.js';
import type { Start, Temporal } from './temporal.js';
import { valid } from './validation.js';

/** `client.sweeps`: looking after what nodes hold against what the catalog says. */
export class Sweeps {
  constructor(
    private readonly temporal: () => Promise<Temporal>,
    private readonly operations: Operations,
    private readonly actor: string,
  ) {}

  /**
   * Starts a sweep, beside those that the schedule starts. `observe` reports what has differed for longer than the grace;
   * `repair` mends it. Both drive on claims whose workflow is gone.
   *
   * @throws StewardError INVALID_INPUT, UNAVAILABLE
   */
  async run(
    options: {
      /** `observe` by default. */
      readonly mode?: RepairMode | undefined;
      /** 5 minutes by default. */
      readonly gracePeriodMs?: number | undefined;
    } = {},
  ): Promise<OperationHandle<SweepResult>> {
    const { mode, gracePeriodMs } = options;
    const input = valid(() =>
      sweepReplicasInput({
        ...(mode !== undefined && { mode }),
        ...(gracePeriodMs !== undefined && { gracePeriodMs }),
        actor: this.actor,
      }),
    );
    return this.#start({
      workflowType: 'sweepReplicas',
      workflowId: `sweep-replicas/${randomUUID().slice(0, 8)}`,
      input,
      summary: `sweep (${input.mode})`,
      details: `Compares what nodes hold with what the catalog says. Asked by ${this.actor}.`,
      resource: 'nodes',
    });
  }

  /** The last sweep that ended, by whomever it was started; undefined before the first one. */
  async last(): Promise<
    { readonly operationId: string; readonly endedAt: string; readonly result: SweepResult } | undefined
  > {
    const temporal = await this.temporal();
    return temporal.ask(async (client) => {
      const query = "WorkflowType = 'sweepReplicas' AND ExecutionStatus = 'Completed'";
      for await (const { workflowId, runId, closeTime } of client.workflow.list({ query, pageSize: 1 })) {
        const result: SweepResult = await client.workflow.getHandle(workflowId, runId).result();
        return { operationId: workflowId, endedAt: (closeTime ?? new Date()).toISOString(), result };
      }
      return undefined;
    });
  }

  /**
   * Drains the region-maintain tasks that an older control plane had queued. `entries` are the objects of its NDJSON file;
   * what is no task is accounted for as such.
   *
   * @throws StewardError INVALID_INPUT (1 to 5,000 entries), UNAVAILABLE
   */
  async drainLegacyQueue(entries: readonly unknown[]): Promise<OperationHandle<DrainResult>> {
    const input = valid(() => drainLegacyQueueInput({ entries, actor: this.actor }));
    return this.#start({
      workflowType: 'drainLegacyQueue',
      workflowId: `drain-legacy-queue/${randomUUID().slice(0, 8)}`,
      input,
      summary: `drain ${entries.length} legacy tasks`,
      details: `Drains ${entries.length} entries of an older control plane's queue. Asked by ${this.actor}.`,
      resource: 'legacy-queue',
    });
  }

  async #start<T>(start: Start): Promise<OperationHandle<T>> {
    const temporal = await this.temporal();
    const { runId, attached } = await temporal.start(start);
    return this.operations.handleOf<T>(temporal, start.workflowId, runId, attached);
  }
}
