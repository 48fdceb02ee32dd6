import type { EngineNode } from '../nodes.js';
import type { NodeClients } from './node-clients.js';

/** The highest epoch that a node accepted for a resource. */
export interface AcceptedEpoch {
  /** What follows the catalog id in the resource's path: `42` of a region, `etl/1/2` of a task group. */
  readonly path: string;
  readonly epoch: number;
}

const RESOURCE = /^(region|task-group|resource)\/([^/]+)\/(.+)$/;

/**
 * Every epoch of this catalog that the node's ledger has, also of what is long gone (I9), by kind: epochs of regions and
 * task groups are drawn from the catalog's one sequence, those of optimizer resources count their launches. Throws like
 * `NodeClients.call`.
 */
export async function* acceptedEpochs(
  clients: NodeClients,
  node: EngineNode,
  catalogId: string,
): AsyncIterable<AcceptedEpoch & { readonly kind: 'region' | 'task-group' | 'resource' }> {
  const ref = { nodeId: node.nodeId, ledgerId: node.ledgerId };
  let pageToken = '';
  do {
    const request = { node: ref, pageSize: 1_000, pageToken };
    const page = await clients.call(node, (client) => client.inventory.listEpochs(request));
    for (const { resource, epoch } of page.epochs) {
      const [, kind, catalog, path] = RESOURCE.exec(resource) ?? [];
      if (catalog !== catalogId) continue;
      yield { kind: kind as 'region' | 'task-group' | 'resource', path: path!, epoch: Number(epoch) };
    }
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
}
