import type { SearchAttributePair } from '@temporalio/common';
import { proxyActivities, setCurrentDetails, workflowInfo } from '@temporalio/workflow';
import type { ReconcileVerb } from '../../activities/regions/reconcile-regions.js';
import type { RegionActivities } from '../../activities/regions/regions.js';
import type { NodeWork } from '../../src/catalog/group-rows.js';
import type { HolderRef } from '../../src/rules/words.js';
import { RECONCILE } from '../activity-options.js';
import { stewardNode } from '../search-attributes.js';
import { onIgnoredCancellation } from './cancellation.js';

const { reconcileRegions } = proxyActivities<Pick<RegionActivities, 'reconcileRegions'>>(RECONCILE);

/** This workflow as a holder: its id and the first run of its chain. */
export function thisHolder(): HolderRef {
  const { workflowId, firstExecutionRunId } = workflowInfo();
  return { workflowId, firstRunId: firstExecutionRunId };
}

/** The search attribute of what concerns one node alone; nothing for what concerns several. */
export function theOneNode(nodes: readonly NodeWork[]): SearchAttributePair[] {
  const [node, ...others] = nodes;
  return node === undefined || others.length > 0 ? [] : [{ key: stewardNode, value: node.nodeId }];
}

/**
 * Everything that this workflow holds, brought to its end on each node: one activity for each node, however many regions
 * there are and however long it takes.
 */
export async function reconcileNodes(
  verb: ReconcileVerb,
  nodes: readonly NodeWork[],
  headline: string,
): Promise<void> {
  const holder = thisHolder();
  const progress = new NodeProgress(headline, verb, nodes);
  if (verb === 'delete') onIgnoredCancellation(() => progress.cancellationIgnored());
  await Promise.all(
    nodes.map(async ({ nodeId, replicas }) => {
      const summary = `${verb} ${replicas} ${replicas === 1 ? 'region' : 'regions'} on ${nodeId}`;
      await reconcileRegions.executeWithOptions({ summary }, [{ nodeId, holder, verb }]);
      progress.finished(nodeId);
    }),
  );
}

/** Details that the Web UI shows of a running workflow: a line of Markdown for each node. */
class NodeProgress {
  readonly #done = new Set<string>();
  #note = '';

  constructor(
    private readonly headline: string,
    private readonly verb: ReconcileVerb,
    private readonly nodes: readonly NodeWork[],
  ) {
    this.#show();
  }

  finished(nodeId: string): void {
    this.#done.add(nodeId);
    this.#show();
  }

  cancellationIgnored(): void {
    this.#note = 'A cancellation was asked for and is ignored: the removal is past its point of no return.';
    this.#show();
  }

  #show(): void {
    const rows = this.nodes.map(
      ({ nodeId, replicas }) =>
        `| ${nodeId} | ${replicas} | ${this.#done.has(nodeId) ? 'done' : `${this.verb} under way: see its pending activity`} |`,
    );
    setCurrentDetails(
      [this.headline, this.#note, '', '| node | regions | state |', '| --- | --- | --- |', ...rows].join(
        '\n',
      ),
    );
  }
}
