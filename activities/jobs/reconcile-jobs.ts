import type { Catalog } from '../../src/catalog/catalog.js';
import { type OwedCancel, owedCancels } from '../../src/catalog/jobs/cancels.js';
import { lastCheckpoints } from '../../src/catalog/jobs/checkpoints.js';
import type { JobKey } from '../../src/catalog/jobs/rows.js';
import {
  type PlacedTaskGroup,
  placedTaskGroups,
  recordNews,
  type TaskGroupNews,
} from '../../src/catalog/jobs/task-groups.js';
import type { JobEngine } from '../../src/engines/jobs.js';
import { type EngineNode, isUnanswered, NodeIncapable } from '../../src/engines/nodes.js';
import type { Logger } from '../../src/log.js';
import type { Settings } from '../../src/model/settings.js';
import type { JobSpec } from '../../src/rules/job-spec.js';
import { deliverCancels } from './deliver-cancels.js';
import { deployment } from './deployment.js';
import { OpenWork, type PassReport } from './pass-report.js';
import { submitTaskGroups } from './task-group-operation.js';
import {
  diskGone,
  type TaskGroupVerdict,
  verdictOfDeployment,
  verdictOfInventory,
  verdictOfSilence,
  withinPatience,
} from './task-group-verdicts.js';

export interface JobDependencies {
  readonly catalog: Catalog;
  readonly catalogId: string;
  readonly engine: JobEngine;
  readonly settings: Pick<Settings, 'nodeTimeoutMs' | 'jobPollIntervalMs'>;
  readonly log: Logger;
}

/** Until what is to be cancelled on a node is looked at again. */
const DEBTS_MS = 200;

/**
 * One pass over all nodes of a job: each is asked once, at the same time as the others. Keeps no state: whoever makes the
 * next pass goes on where the catalog and the ledgers stand.
 */
export class JobPass {
  readonly #work: OpenWork;

  constructor(
    private readonly dependencies: JobDependencies,
    private readonly key: JobKey,
    private readonly execution: number,
    private readonly spec: JobSpec,
    private readonly onNode: () => void = () => {},
  ) {
    this.#work = new OpenWork(dependencies.settings.jobPollIntervalMs);
  }

  /** Asks every node to start what was placed on it: one Submit for each. */
  async deploy(): Promise<PassReport> {
    const { catalog, catalogId, engine } = this.dependencies;
    const placed = await this.#placed(['DEPLOYING']);
    const restore = await lastCheckpoints(catalog, this.key, { before: this.execution });
    const owed = await this.#owed();
    await this.#eachNode(placed, async (node, all) => {
      const present = await this.#withoutEmptied(all);
      if (present.length === 0) return;
      const debts = owed.filter((one) => one.node.nodeId === node.nodeId);
      if ((await this.#settle(node, debts)) > 0) {
        // What ran before on this node must be over first.
        const blocker = `${node.nodeId} has not confirmed what is to be cancelled`;
        return this.#record(present, () => ({ kind: 'WAIT', blocker, delayMs: DEBTS_MS }));
      }
      await this.#asking(present, async () => {
        const execution = { catalogId, ...this.key, execution: this.execution };
        const operations = present.map((one) => deployment(execution, this.spec, one, restore));
        const statuses = await submitTaskGroups(engine, node, operations);
        await this.#record(present, (one, index) =>
          verdictOfDeployment(one, statuses[index]!, this.execution),
        );
      });
    });
    return this.#work.report();
  }

  /** Looks at what the nodes run: progress, ends, and what is not executed any more or makes no progress (zombies). */
  async supervise(): Promise<PassReport> {
    const { catalogId, engine } = this.dependencies;
    const { progressTimeoutMs } = this.spec.env;
    const expected = { execution: this.execution, progressTimeoutMs };
    const placed = await this.#placed(['RUNNING']);
    const owed = await this.#owed();
    await this.#eachNode(placed, async (node, all) => {
      const present = await this.#withoutEmptied(all);
      await this.#asking(present, async () => {
        const listed = await engine.listTaskGroups(node, catalogId, this.key.jobId);
        await this.#record(present, (one) => verdictOfInventory(one, listed, expected));
      });
    });
    // What is owed to nodes that came back is delivered; the job does not wait for it.
    for (const [node, debts] of byNode(owed)) await this.#settle(node, debts);
    this.#work.again(Math.max(50, progressTimeoutMs / 4));
    return this.#work.report();
  }

  /** Asks the nodes to end what they are owed to be told; what is lost, or takes too long, is not waited for. */
  async cancel(): Promise<PassReport> {
    const owed = await this.#owed();
    await Promise.all(
      [...byNode(owed)].map(async ([node, debts]) => {
        this.#work.add(await this.#settle(node, debts));
        this.onNode();
      }),
    );
    return this.#work.report();
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
    await this.#tell(placed.filter(({ otherLedger }) => otherLedger).map(diskGone));
    return placed.filter(({ otherLedger }) => !otherLedger);
  }

  /** Runs one call to the node that all of them are on, and records what its failure means. */
  async #asking(placed: readonly PlacedTaskGroup[], ask: () => Promise<void>): Promise<void> {
    if (placed.length === 0) return;
    try {
      await ask();
    } catch (error) {
      if (!(error instanceof NodeIncapable || isUnanswered(error))) throw error;
      await this.#record(placed, (one) => verdictOfSilence(one, error));
    }
  }

  async #record(
    placed: readonly PlacedTaskGroup[],
    judge: (one: PlacedTaskGroup, index: number) => TaskGroupVerdict,
  ): Promise<void> {
    const { progressTimeoutMs } = this.spec.env;
    const news: TaskGroupNews[] = [];
    for (const [index, one] of placed.entries()) {
      const verdict = withinPatience(one, judge(one, index), progressTimeoutMs);
      if (verdict.kind !== 'NEWS') this.#work.add(1);
      if (verdict.kind === 'WAIT') this.#work.again(verdict.delayMs, verdict.blocker);
      else if (verdict.news !== undefined) news.push(verdict.news);
    }
    await this.#tell(news);
  }

  async #tell(news: readonly TaskGroupNews[]): Promise<void> {
    const { catalog, log } = this.dependencies;
    for (const one of news) {
      if (one.kind !== 'LOST') continue;
      log.warn({ job: this.key.jobId, execution: this.execution, ...one }, 'task group failed');
    }
    await recordNews(catalog, this.key, this.execution, news, log);
  }

  /** Delivers what a node is owed to be told; answers how much of it is to be waited for. */
  #settle(node: EngineNode, debts: readonly OwedCancel[]): Promise<number> {
    return deliverCancels(this.dependencies, node, debts, this.spec.env.progressTimeoutMs, this.#work);
  }
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
