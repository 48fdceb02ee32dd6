import type { Catalog } from '../../src/catalog/catalog.js';
import {
  type CancelNews,
  type OwedCancel,
  owedCancels,
  recordCancel,
} from '../../src/catalog/jobs/cancels.js';
import { lastCheckpoints } from '../../src/catalog/jobs/checkpoints.js';
import type { JobKey } from '../../src/catalog/jobs/rows.js';
import {
  type PlacedTaskGroup,
  placedTaskGroups,
  recordNews,
  type TaskGroupNews,
} from '../../src/catalog/jobs/task-groups.js';
import type { JobEngine, TaskGroupOnNode, TaskGroupOperation } from '../../src/engines/jobs.js';
import {
  type EngineNode,
  NodeIncapable,
  NodeMismatch,
  NodeUnreachable,
  type OperationStatus,
} from '../../src/engines/nodes.js';
import type { Logger } from '../../src/log.js';
import type { Settings } from '../../src/model/settings.js';
import { SUBMIT_BATCH } from '../../src/rules/bounds.js';
import type { JobSpec } from '../../src/rules/job-spec.js';
import { LATEST_MS, pollDelayMs } from '../../src/rules/pace.js';
import {
  type CancelVerdict,
  cancelOperation,
  verdictOfAnswer,
  verdictOfSilence,
  verdictUnasked,
} from './owed-cancels.js';
import { taskGroupOperation } from './task-group-operation.js';

export interface JobDependencies {
  readonly catalog: Catalog;
  readonly catalogId: string;
  readonly engine: JobEngine;
  readonly settings: Pick<Settings, 'nodeTimeoutMs' | 'jobPollIntervalMs'>;
  readonly log: Logger;
}

/** What one pass over a job's nodes left open, for people (I8), and when the next one is worth making. */
export interface PassReport {
  readonly open: number;
  readonly blockers: readonly string[];
  readonly delayMs: number;
}

/** Between a cancel that failed and the next look at it. */
const AGAIN_MS = 200;

/**
 * One pass over all nodes of a job: each is asked once, at the same time as the others. Keeps no state: whoever makes the
 * next pass goes on where the catalog and the ledgers stand.
 */
export class JobPass {
  #open = 0;
  #delayMs: number;
  readonly #blockers = new Set<string>();

  constructor(
    private readonly dependencies: JobDependencies,
    private readonly key: JobKey,
    private readonly execution: number,
    private readonly spec: JobSpec,
    private readonly onNode: () => void = () => {},
  ) {
    this.#delayMs = dependencies.settings.jobPollIntervalMs;
  }

  /** Asks every node to start what was placed on it: one Submit for each. */
  async deploy(): Promise<PassReport> {
    const placed = await this.#placed(['DEPLOYING']);
    const restore = await lastCheckpoints(this.dependencies.catalog, this.key, { before: this.execution });
    const owed = await this.#owed();
    await this.#eachNode(placed, async (node, all) => {
      const present = await this.#withoutEmptied(all);
      if (present.length === 0) return;
      const debts = owed.filter((one) => one.node.nodeId === node.nodeId);
      if ((await this.#settle(node, debts)) > 0) {
        // What ran before on this node must be over first.
        const blocker = `${node.nodeId} has not confirmed what is to be cancelled`;
        return this.#record(present.flatMap((one) => this.#waitOrLose(one, blocker, 200)));
      }
      await this.#asking(node, present, async () => {
        const operations = present.map((one) => this.#deployment(one, restore));
        const statuses = await this.#submit(node, operations);
        await this.#record(present.flatMap((one, index) => this.#deployed(one, statuses[index]!)));
      });
    });
    return this.#report();
  }

  /** Looks at what the nodes run: progress, ends, and what is not executed any more or makes no progress (zombies). */
  async supervise(): Promise<PassReport> {
    const placed = await this.#placed(['RUNNING']);
    const owed = await this.#owed();
    await this.#eachNode(placed, async (node, all) => {
      const present = await this.#withoutEmptied(all);
      await this.#asking(node, present, async () => {
        const { catalogId, engine } = this.dependencies;
        const listed = await engine.listTaskGroups(node, catalogId, this.key.jobId);
        await this.#record(present.flatMap((one) => this.#seen(one, listed)));
      });
    });
    // What is owed to nodes that came back is delivered; the job does not wait for it.
    const counted = this.#open;
    for (const [node, debts] of byNode(owed)) await this.#settle(node, debts);
    this.#open = counted;
    this.#delayMs = Math.min(this.#delayMs, Math.max(50, this.spec.env.progressTimeoutMs / 4));
    return this.#report();
  }

  /** Asks the nodes to end what they are owed to be told; what is lost, or takes too long, is not waited for. */
  async cancel(): Promise<PassReport> {
    const owed = await this.#owed();
    await Promise.all(
      [...byNode(owed)].map(async ([node, debts]) => {
        const open = await this.#settle(node, debts);
        this.#open += open;
        this.onNode();
      }),
    );
    return this.#report();
  }

  #placed(states: readonly ('DEPLOYING' | 'RUNNING')[]): Promise<PlacedTaskGroup[]> {
    const { catalog, settings } = this.dependencies;
    return placedTaskGroups(catalog, this.key, states, settings.nodeTimeoutMs);
  }

  #owed(): Promise<OwedCancel[]> {
    const { catalog, settings } = this.dependencies;
    return owedCancels(catalog, { jobId: this.key.jobId }, settings.nodeTimeoutMs);
  }

  async #eachNode(
    placed: readonly PlacedTaskGroup[],
    work: (node: EngineNode, placed: readonly PlacedTaskGroup[]) => Promise<void>,
  ): Promise<void> {
    await Promise.all(
      [...byNode(placed)].map(async ([node, ones]) => {
        await work(node, ones);
        this.onNode();
      }),
    );
  }

  /** What was on a disk that is gone is FAILED; answers the rest. */
  async #withoutEmptied(placed: readonly PlacedTaskGroup[]): Promise<PlacedTaskGroup[]> {
    await this.#record(placed.filter(({ otherLedger }) => otherLedger).map(diskGone));
    return placed.filter(({ otherLedger }) => !otherLedger);
  }

  /**
   * A task group that is not settled: waited for, unless it is a deployment that has been open for longer than the progress
   * time-out. Judged after its node was asked, so that the time in which nobody asked condemns nothing.
   */
  #waitOrLose(one: PlacedTaskGroup, blocker: string | undefined, delayMs: number): TaskGroupNews[] {
    const { progressTimeoutMs } = this.spec.env;
    if (one.state !== 'DEPLOYING' || one.ageMs <= progressTimeoutMs) {
      this.#wait(1, blocker, delayMs);
      return [];
    }
    const error = `not started within ${progressTimeoutMs} ms${blocker === undefined ? '' : `: ${blocker}`}`;
    return [{ ...at(one), kind: 'LOST', error, owed: true }];
  }

  /** Runs one call. A node that does not answer and has no heartbeat either is lost; one that lives is waited for. */
  async #asking(
    node: EngineNode,
    placed: readonly PlacedTaskGroup[],
    ask: () => Promise<void>,
  ): Promise<void> {
    if (placed.length === 0) return;
    try {
      await ask();
    } catch (error) {
      const lose = (reason: string) =>
        this.#record(placed.map((one) => ({ ...at(one), kind: 'LOST', error: reason, owed: true })));
      if (error instanceof NodeIncapable) return lose(error.message);
      if (!(error instanceof NodeUnreachable) && !(error instanceof NodeMismatch)) throw error;
      if (placed[0]!.nodeAlive) {
        const delayMs = error instanceof NodeUnreachable ? error.retryAfterMs : LATEST_MS;
        return this.#record(placed.flatMap((one) => this.#waitOrLose(one, error.message, delayMs)));
      }
      await lose(`${node.nodeId} is lost: no heartbeat, and ${error.message}`);
    }
  }

  #deployed(one: PlacedTaskGroup, status: OperationStatus): TaskGroupNews[] {
    switch (status.state) {
      case 'SUCCESS':
        return [{ ...at(one), kind: 'STARTED' }];
      case 'FAIL':
        return [
          {
            ...at(one),
            kind: 'LOST',
            error: `not started: ${status.code}: ${status.message}`,
            owed: status.code === 'ALREADY_EXISTS',
          },
        ];
      case 'PROCESSING':
        return this.#waitOrLose(one, undefined, pollDelayMs(status.ageMs));
      case 'TASK_NOT_EXIST':
        return this.#waitOrLose(one, undefined, 50);
      case 'REFUSED':
        if (status.code === 'RESOURCE_EXHAUSTED') {
          const blocker = `${one.node.nodeId} is busy: ${status.message}`;
          return this.#waitOrLose(one, blocker, status.retryAfterMs ?? LATEST_MS);
        }
        if (status.code === 'STALE_EPOCH') {
          const blocker = `CATALOG_BEHIND: ${one.node.nodeId} accepted epoch ${status.highestEpoch}, the job is at ${this.execution}`;
          return this.#waitOrLose(one, blocker, LATEST_MS);
        }
        return [
          {
            ...at(one),
            kind: 'LOST',
            error: `${one.node.nodeId} refused: ${status.code}: ${status.message}`,
            owed: false,
          },
        ];
    }
  }

  #seen(one: PlacedTaskGroup, listed: readonly TaskGroupOnNode[]): TaskGroupNews[] {
    const found = listed.find(
      ({ pipeline, taskGroup }) => pipeline === one.pipeline && taskGroup === one.taskGroup,
    );
    if (found?.execution !== this.execution) {
      const error = `RUNNING in the catalog, but ${one.node.nodeId} does not execute it`;
      return [{ ...at(one), kind: 'LOST', error, owed: true }];
    }
    const { state, rowsIn, rowsOut, idleMs, error } = found;
    if (state !== 'RUNNING') {
      return [{ ...at(one), kind: 'ENDED', state, rowsIn, rowsOut, ...(error && { error }) }];
    }
    this.#open += 1;
    const { progressTimeoutMs } = this.spec.env;
    if (idleMs > progressTimeoutMs) {
      const zombie = `active, but no progress for ${Math.round(idleMs)} ms (progressTimeout ${progressTimeoutMs} ms)`;
      return [{ ...at(one), kind: 'LOST', error: zombie, owed: true }];
    }
    if (rowsIn <= one.rowsIn && rowsOut <= one.rowsOut) return [];
    return [{ ...at(one), kind: 'PROGRESS', rowsIn, rowsOut }];
  }

  #record(news: readonly TaskGroupNews[]): Promise<void> {
    const { catalog, log } = this.dependencies;
    for (const one of news) {
      if (one.kind !== 'LOST') continue;
      log.warn({ job: this.key.jobId, execution: this.execution, ...one }, 'task group failed');
    }
    return recordNews(catalog, this.key, this.execution, news, log);
  }

  /** Delivers what a node is owed to be told; answers how much of it is to be waited for. */
  async #settle(node: EngineNode, debts: readonly OwedCancel[]): Promise<number> {
    let open = 0;
    const due: OwedCancel[] = [];
    for (const one of debts) {
      const verdict = verdictUnasked(one);
      if (verdict === undefined) due.push(one);
      else open += await this.#carryOut(one, verdict);
    }
    const verdicts = await this.#askToCancel(node, due);
    for (const [at, one] of due.entries()) open += await this.#carryOut(one, verdicts[at]!);
    return open;
  }

  async #askToCancel(node: EngineNode, due: readonly OwedCancel[]): Promise<CancelVerdict[]> {
    const { catalogId } = this.dependencies;
    try {
      const operations = due.map((one) => cancelOperation(catalogId, one));
      const statuses = await this.#submit(node, operations);
      return due.map((one, at) => verdictOfAnswer(one, statuses[at]!));
    } catch (error) {
      if (!(error instanceof NodeUnreachable) && !(error instanceof NodeMismatch)) throw error;
      return due.map((one) => verdictOfSilence(one, error));
    }
  }

  /** Records what was found; answers 1 when the job waits for this cancel, and 0 when it goes on without. */
  async #carryOut(one: OwedCancel, verdict: CancelVerdict): Promise<0 | 1> {
    switch (verdict.kind) {
      case 'OVER':
        await this.#tell(one, verdict);
        return 0;
      case 'AGAIN':
        await this.#tell(one, verdict);
        this.#wait(0, `${one.node.nodeId} fails to cancel: ${verdict.error}`, AGAIN_MS);
        return 1;
      case 'WAIT':
        this.#wait(0, verdict.blocker, verdict.delayMs);
        if (one.ageMs <= this.spec.env.progressTimeoutMs) return 1;
        await this.#giveUp(one, verdict.why);
        return 0;
      case 'GIVE_UP':
        await this.#giveUp(one, verdict.why);
        return 0;
    }
  }

  /** Told once: the debt stays, and is delivered whenever the node answers. */
  async #giveUp(one: OwedCancel, error: string): Promise<void> {
    if (!one.givenUp) await this.#tell(one, { kind: 'GIVEN_UP', error });
  }

  #tell(one: OwedCancel, news: CancelNews): Promise<void> {
    const { catalog, log } = this.dependencies;
    return recordCancel(catalog, one, news, log);
  }

  async #submit(node: EngineNode, operations: readonly TaskGroupOperation[]): Promise<OperationStatus[]> {
    const statuses: OperationStatus[] = [];
    for (let from = 0; from < operations.length; from += SUBMIT_BATCH) {
      statuses.push(
        ...(await this.dependencies.engine.submit(node, operations.slice(from, from + SUBMIT_BATCH))),
      );
    }
    return statuses;
  }

  #deployment(
    { pipeline, taskGroup, attempt, node }: PlacedTaskGroup,
    restore: Awaited<ReturnType<typeof lastCheckpoints>>,
  ): TaskGroupOperation {
    const plan = this.spec.pipelines.find((one) => one.pipeline === pipeline)!;
    const { source } = plan.taskGroups.find((one) => one.taskGroup === taskGroup)!;
    const last = restore.find((one) => one.pipeline === pipeline && one.task_group === taskGroup);
    const { catalogId } = this.dependencies;
    const location = { catalogId, jobId: this.key.jobId, pipeline, taskGroup };
    return {
      ...taskGroupOperation('deploy-task-group', location, { node, epoch: this.execution, attempt }),
      change: {
        verb: 'deploy-task-group',
        owner: this.key.owner,
        source,
        transform: plan.transform,
        sink: plan.sink,
        parallelism: plan.parallelism,
        ...(plan.checkpointIntervalMs !== undefined && { checkpointIntervalMs: plan.checkpointIntervalMs }),
        ...(last && {
          restore: {
            checkpointId: last.checkpoint_id,
            position: last.position,
            parts: last.parts,
            rowsIn: last.rows_in,
            rowsOut: last.rows_out,
          },
        }),
      },
    };
  }

  #wait(open: number, blocker: string | undefined, delayMs: number): void {
    this.#open += open;
    this.#delayMs = Math.min(this.#delayMs, delayMs);
    if (blocker !== undefined) this.#blockers.add(blocker);
  }

  #report(): PassReport {
    return {
      open: this.#open,
      blockers: [...this.#blockers],
      delayMs: Math.max(10, Math.ceil(this.#delayMs)),
    };
  }
}

function at({ pipeline, taskGroup }: PlacedTaskGroup): Pick<PlacedTaskGroup, 'pipeline' | 'taskGroup'> {
  return { pipeline, taskGroup };
}

function diskGone(one: PlacedTaskGroup): TaskGroupNews {
  return { ...at(one), kind: 'LOST', error: `${one.node.nodeId} came back with another ledger`, owed: false };
}

function byNode<T extends { readonly node: EngineNode }>(ones: readonly T[]): Map<EngineNode, T[]> {
  const nodes = new Map<string, [EngineNode, T[]]>();
  for (const one of ones) {
    const known = nodes.get(one.node.nodeId);
    if (known === undefined) nodes.set(one.node.nodeId, [one.node, [one]]);
    else known[1].push(one);
  }
  return new Map(nodes.values());
}
