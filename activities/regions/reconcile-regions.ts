import type { Catalog } from '../../src/catalog/catalog.js';
import type { HolderRow } from '../../src/catalog/claims.js';
import type { NodeAddress } from '../../src/catalog/nodes.js';
import { pauseOf } from '../../src/catalog/pauses.js';
import {
  type OpenReplica,
  openReplicas,
  raiseAttempts,
  recordCreated,
  recordRemoved,
  recordUncreated,
} from '../../src/catalog/replicas.js';
import { NodeMismatch, NodeUnreachable, type OperationStatus } from '../../src/engines/nodes.js';
import type { RegionEngine } from '../../src/engines/regions.js';
import type { Logger } from '../../src/log.js';
import { SUBMIT_BATCH } from '../../src/rules/bounds.js';
import type { NodeReport, OpenOperation } from '../../src/rules/node-report.js';
import { formatOperationId, regionPath } from '../../src/rules/operation-id.js';
import { pollDelayMs, retryDelayMs } from '../../src/rules/pace.js';
import { PAUSED_RETRY_MS, pausedText } from '../pauses.js';

/**
 * `create`: one attempt for each replica, and unknown after a time-out. `recreate`: attempts until it is there.
 * `delete`: attempts until it is gone.
 */
export type ReconcileVerb = 'create' | 'recreate' | 'delete';

export interface ReconcileDependencies {
  readonly catalog: Catalog;
  readonly catalogId: string;
  readonly engine: RegionEngine;
  readonly log: Logger;
}

/**
 * One pass over everything that a holder has open on a node: submits it (which is also the question), and moves the rows
 * of what ended. Keeps no state: whoever runs it next goes on where the catalog and the node's ledger stand.
 */
export class RegionPass {
  readonly #open: OpenOperation[] = [];
  #settled = 0;
  #paused: { operations: number; reason: string } | undefined;
  #unasked: { operations: number; reason: string; retryAfterMs: number } | undefined;

  constructor(
    private readonly dependencies: ReconcileDependencies,
    private readonly holder: HolderRow,
    private readonly node: NodeAddress,
    private readonly verb: ReconcileVerb,
  ) {}

  async run(onBatch: () => void): Promise<NodeReport> {
    for (let after = 0; ; ) {
      const batch = await this.#nextBatch(after);
      const last = batch.at(-1);
      if (last === undefined) break;
      after = last.groupId;
      await this.#ask(batch);
      onBatch();
    }
    return {
      nodeId: this.node.nodeId,
      verb: this.verb === 'delete' ? 'deletion' : 'creation',
      settled: this.#settled,
      open: this.#open,
      ...(this.#paused && { paused: this.#paused }),
      ...(this.#unasked && { unasked: this.#unasked }),
    };
  }

  #nextBatch(after: number): Promise<OpenReplica[]> {
    return openReplicas(this.dependencies.catalog, {
      holderId: this.holder.holder_id,
      nodeId: this.node.nodeId,
      state: this.verb === 'delete' ? 'REMOVING' : 'CREATING',
      after,
      limit: SUBMIT_BATCH,
    });
  }

  async #ask(batch: readonly OpenReplica[]): Promise<void> {
    const due = batch.filter(({ waitMs }) => waitMs === 0);
    for (const { groupId, attempt, waitMs, lastError } of batch) {
      if (waitMs > 0) {
        this.#open.push({ kind: 'FAILING', region: groupId, attempt: attempt - 1, error: lastError, waitMs });
      }
    }
    if (due.length === 0) return;
    if (this.#unasked !== undefined) {
      this.#unasked.operations += due.length;
      return;
    }
    try {
      await this.#settle(due, await this.#submitOrLook(due));
    } catch (error) {
      if (error instanceof NodeUnreachable) {
        this.#unasked = { operations: due.length, reason: error.message, retryAfterMs: error.retryAfterMs };
      } else if (error instanceof NodeMismatch) {
        this.#unasked = {
          operations: due.length,
          reason: `${this.node.nodeId} is not the node that the catalog knows: ${error.message}`,
          retryAfterMs: 2_000,
        };
      } else {
        throw error;
      }
    }
  }

  get #nodeVerb() {
    return this.verb === 'delete' ? ('delete-region' as const) : ('create-region' as const);
  }

  /** A holder that is paused submits nothing: it only looks at what the node has accepted before. */
  async #submitOrLook(due: readonly OpenReplica[]): Promise<OperationStatus[]> {
    const { catalog, engine } = this.dependencies;
    const operations = due.map((replica) => this.#operation(replica));
    const pause = await pauseOf(catalog, this.holder.workflow_id);
    if (pause === undefined) return engine.submit(this.node, operations);
    this.#paused ??= { operations: 0, reason: pausedText(pause) };
    return engine.get(
      this.node,
      operations.map(({ operationId }) => operationId),
    );
  }

  #operation({ groupId, epoch, attempt, database, kind, peers }: OpenReplica) {
    const { catalogId } = this.dependencies;
    const verb = this.#nodeVerb;
    return {
      operationId: formatOperationId({
        verb,
        path: regionPath({ catalogId, groupId }),
        nodeId: this.node.nodeId,
        epoch,
        attempt,
      }),
      epoch,
      region: { catalogId, groupId },
      change: verb === 'create-region' ? { verb, database, kind, peers } : { verb },
    };
  }

  async #settle(batch: readonly OpenReplica[], statuses: readonly OperationStatus[]): Promise<void> {
    const { catalog, log } = this.dependencies;
    const { nodeId } = this.node;
    const succeeded: OpenReplica[] = [];
    const failed: (OpenReplica & { error: string })[] = [];
    for (const [index, replica] of batch.entries()) {
      const status = statuses[index]!;
      const about = {
        operation: this.#operation(replica).operationId,
        region: replica.groupId,
        node: nodeId,
      };
      switch (status.state) {
        case 'SUCCESS':
          succeeded.push(replica);
          log.info({ ...about, durationMs: status.durationMs }, `region ${this.verb}d`);
          break;
        case 'FAIL':
          failed.push({ ...replica, error: `${status.code}: ${status.message}` });
          log.warn({ ...about, code: status.code, error: status.message }, `region not ${this.verb}d`);
          break;
        case 'PROCESSING':
          this.#open.push({
            kind: 'PROCESSING',
            ageMs: status.ageMs,
            done: status.done,
            total: status.total,
          });
          break;
        case 'TASK_NOT_EXIST':
          if (this.#paused !== undefined) {
            this.#paused.operations += 1;
            break;
          }
          this.#open.push({ kind: 'PROCESSING', ageMs: 0, done: 0, total: 0 });
          break;
        case 'REFUSED':
          this.#open.push({
            kind: 'REFUSED',
            region: replica.groupId,
            reason: refusalReason(status, replica.epoch),
            waitMs: status.retryAfterMs ?? 2_000,
          });
          break;
      }
    }
    const record = this.verb === 'delete' ? recordRemoved : recordCreated;
    const settled = await record(catalog, this.holder.holder_id, nodeId, succeeded);
    this.#settled += settled;
    if (this.verb === 'create') {
      const uncreated = await recordUncreated(catalog, this.holder.holder_id, nodeId, failed, 'FAILED');
      this.#settled += uncreated;
      return;
    }
    const retried = failed.map((replica) => ({ ...replica, waitMs: retryDelayMs(replica.attempt) }));
    await raiseAttempts(catalog, this.holder.holder_id, nodeId, retried);
    for (const { groupId, attempt, error, waitMs } of retried) {
      this.#open.push({ kind: 'FAILING', region: groupId, attempt, error, waitMs });
    }
  }
}

/** How long to wait before the next pass. The delay follows what is open, not the number of passes. */
export function nextPassMs(report: NodeReport): number {
  const delays = report.open.map((one) => (one.kind === 'PROCESSING' ? pollDelayMs(one.ageMs) : one.waitMs));
  if (report.paused !== undefined) delays.push(PAUSED_RETRY_MS);
  if (report.unasked !== undefined) delays.push(report.unasked.retryAfterMs);
  return Math.max(1, Math.ceil(delays.reduce((least, delay) => Math.min(least, delay), 30_000)));
}

function refusalReason(status: Extract<OperationStatus, { state: 'REFUSED' }>, epoch: number): string {
  if (status.code !== 'STALE_EPOCH') return `${status.code}: ${status.message}`;
  return (
    `CATALOG_BEHIND: the node accepted epoch ${status.highestEpoch} where the catalog is at ${epoch}: ` +
    'the catalog was restored to an older point'
  );
}
