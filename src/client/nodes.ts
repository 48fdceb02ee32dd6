import { timestampDate } from '@bufbuild/protobuf/wkt';
import { createClient } from '@connectrpc/connect';
import { RpcConnection } from '../rpc/connection.js';
import type { Credentials } from '../rpc/credentials.js';
import { NodeService } from '../rpc/gen/steward/worker/v1/node_pb.js';
import { MAX_LIMIT, NODE_NAME } from '../rules/bounds.js';
import { text } from '../rules/input.js';
import type { Coordinator } from './coordinator.js';
import { StewardError } from './errors.js';
import { NodeFaults } from './faults.js';
import { nodeFrom } from './messages.js';
import type { Node, NodeLimits } from './model.js';
import { valid } from './validation.js';

const DEADLINE_MS = 3_000;

/** What a node says of itself. */
export interface NodeState {
  readonly nodeId: string;
  readonly ledgerId: string;
  /** Its clock as it answered. */
  readonly now?: string;
  /** Of the file system that has its data. */
  readonly diskTotalBytes?: number;
  readonly diskFreeBytes?: number;
  /** Operations under way of each verb that is limited, or of which there are any. */
  readonly load: readonly EffectLoad[];
}

export interface EffectLoad {
  /** As in operation ids: `delete-region`. */
  readonly verb: string;
  readonly running: number;
  /** For their turn. */
  readonly waiting: number;
  /** How many may run at a time. */
  readonly limit?: number;
}

/** `client.nodes` */
export class Nodes {
  constructor(
    private readonly coordinator: Coordinator,
    private readonly credentials: Credentials,
    private readonly actor: string,
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
  /**
   * Sets how many deletions and creations a node may run at a time, or every node (`undefined`) whose own limits go then. What
   * is absent is not limited. Without limits, a node has those of every node. A node keeps them from its next heartbeat on.
   *
   * @throws StewardError INVALID_INPUT, NOT_FOUND, UNAVAILABLE
   */
  async limit(nodeId: string | undefined, limits: NodeLimits | undefined): Promise<void> {
    const id = nodeId === undefined ? '' : valid(() => text({ nodeId }, 'nodeId', NODE_NAME));
    for (const [field, value] of Object.entries(limits ?? {})) {
      if (Number.isInteger(value) && value >= 1 && value <= MAX_LIMIT) continue;
      throw new StewardError(
        'INVALID_INPUT',
        `${field}: expected a whole number from 1 to ${MAX_LIMIT}, got ${value}`,
        { details: { field } },
      );
    }
    await this.coordinator.ask((catalog) =>
      catalog.setNodeLimits({ nodeId: id, actor: this.actor, ...(limits && { limits }) }),
    );
  }

  /** What the node says of itself, asked at the address that it registered with. Throws UNAVAILABLE. */
  async state({ nodeId, address }: Pick<Node, 'nodeId' | 'address'>): Promise<NodeState> {
    const connection = new RpcConnection(address, this.credentials, { deadlineMs: DEADLINE_MS });
    try {
      const info = await createClient(NodeService, connection.transport).getNodeInfo({});
      const { diskTotalBytes: total, diskFreeBytes: free, load, ...rest } = info;
      return {
        nodeId: rest.nodeId,
        ledgerId: rest.ledgerId,
        ...(rest.now && { now: timestampDate(rest.now).toISOString() }),
        ...(total !== undefined && { diskTotalBytes: Number(total) }),
        ...(free !== undefined && { diskFreeBytes: Number(free) }),
        load: load.map(({ verb, running, waiting, limit }) => ({
          verb,
          running,
          waiting,
          ...(limit !== undefined && { limit }),
        })),
      };
    } catch (error) {
      throw StewardError.from(error, `${nodeId} at ${address}`);
    } finally {
      connection.close();
    }
  }
}
