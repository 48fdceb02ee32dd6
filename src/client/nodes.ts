import type { Credentials } from '../rpc/credentials.js';
import { NODE_NAME } from '../rules/bounds.js';
import { text } from '../rules/input.js';
import type { Coordinator } from './coordinator.js';
import { StewardError } from './errors.js';
import { NodeFaults } from './faults.js';
import { nodeFrom } from './messages.js';
import type { Node } from './model.js';
import { valid } from './validation.js';

/** `client.nodes` */
export class Nodes {
  constructor(
    private readonly coordinator: Coordinator,
    private readonly credentials: Credentials,
  ) {}

  /** Every node that ever registered, in the order of ids. */
  async list(): Promise<Node[]> {
    const { nodes } = await this.coordinator.ask((catalog) => catalog.listNodes({}));
    return nodes.map(nodeFrom);
  }

  /** @throws StewardError INVALID_INPUT, NOT_FOUND, UNAVAILABLE */
  async get(nodeId: string): Promise<Node> {
    const id = valid(() => text({ nodeId }, 'nodeId', NODE_NAME));
    const nodes = await this.list();
    const found = nodes.find((node) => node.nodeId === id);
    if (found !== undefined) return found;
    const known =
      nodes.length === 0
        ? 'none has registered yet'
        : `known are ${nodes.map((node) => node.nodeId).join(', ')}`;
    throw new StewardError('NOT_FOUND', `node ${id} does not exist: ${known}`);
  }

  /**
   * The faults of a node, spoken to at the address that it registered with.
   *
   * @throws StewardError as `get`
   */
  async faults(nodeId: string): Promise<NodeFaults> {
    return new NodeFaults(await this.get(nodeId), this.credentials);
  }
}
