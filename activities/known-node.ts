import { ApplicationFailure } from '@temporalio/common';
import type { Catalog } from '../src/catalog/catalog.js';
import { findNode, type NodeAddress } from '../src/catalog/nodes.js';

/** Fails for good when no node of that id ever registered. */
export async function requireNode(catalog: Catalog, nodeId: string): Promise<NodeAddress> {
  const node = await findNode(catalog, nodeId);
  if (node === undefined)
    throw ApplicationFailure.nonRetryable(`node ${nodeId} is not known`, 'NodeNotFound');
  return node;
}
