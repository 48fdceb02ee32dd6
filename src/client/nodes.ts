import type { Coordinator } from './coordinator.js';
import { nodeFrom } from './messages.js';
import type { Node } from './model.js';

/** `client.nodes` */
export class Nodes {
  constructor(private readonly coordinator: Coordinator) {}

  /** Every node that ever registered, in the order of ids. */
  async list(): Promise<Node[]> {
    const { nodes } = await this.coordinator.ask((catalog) => catalog.listNodes({}));
    return nodes.map(nodeFrom);
  }
}
