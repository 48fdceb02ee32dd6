import { type Client, Code, ConnectError, createClient } from '@connectrpc/connect';
import { RpcConnection } from '../../rpc/connection.js';
import type { Credentials } from '../../rpc/credentials.js';
import { InventoryService } from '../../rpc/gen/steward/worker/v1/inventory_pb.js';
import { OperationService } from '../../rpc/gen/steward/worker/v1/operation_pb.js';
import { unreachableDelayMs } from '../../rules/pace.js';
import { type EngineNode, NodeIncapable, NodeMismatch, NodeUnreachable } from '../nodes.js';

/** The clients of one node's services. */
export interface NodeClient {
  readonly operations: Client<typeof OperationService>;
  readonly inventory: Client<typeof InventoryService>;
}

interface Connection {
  readonly client: NodeClient;
  readonly rpc: RpcConnection;
  failures: number;
  /** Why the last call was not answered. */
  lastReason: string;
  /** Milliseconds of `performance.now()`. */
  nextCall: number;
}

/**
 * One HTTP/2 connection for each node address, and the node's back-off: while a node does not answer, callers are told so
 * at once instead of each waiting for its deadline.
 */
export class NodeClients {
  readonly #connections = new Map<string, Connection>();

  constructor(
    private readonly deadlineMs: number,
    private readonly credentials: Credentials,
  ) {}

  /**
   * Calls a node. A call that was not answered becomes NodeUnreachable, an answer of somebody else NodeMismatch, one that the
   * node lacks the capability NodeIncapable.
   */
  async call<T>(node: EngineNode, use: (client: NodeClient) => Promise<T>): Promise<T> {
    const connection = this.#connect(node.address);
    const waitMs = Math.ceil(connection.nextCall - performance.now());
    if (waitMs > 0) throw new NodeUnreachable(node.nodeId, connection.lastReason, waitMs);
    try {
      const answer = await use(connection.client);
      connection.failures = 0;
      return answer;
    } catch (error) {
      const cause = ConnectError.from(error);
      if (cause.code === Code.FailedPrecondition) throw new NodeMismatch(cause.rawMessage, { cause });
      if (cause.code === Code.Unimplemented) {
        throw new NodeIncapable(`${node.nodeId} refuses: ${cause.rawMessage}`, { cause });
      }
      if (cause.code === Code.InvalidArgument) throw cause;
      connection.failures += 1;
      const retryAfterMs = unreachableDelayMs(connection.failures);
      connection.nextCall = performance.now() + retryAfterMs;
      connection.lastReason = `${Code[cause.code]}: ${cause.rawMessage}`;
      throw new NodeUnreachable(node.nodeId, connection.lastReason, retryAfterMs, { cause });
    }
  }

  close(): void {
    for (const { rpc } of this.#connections.values()) rpc.close();
    this.#connections.clear();
  }

  #connect(address: string): Connection {
    const known = this.#connections.get(address);
    if (known !== undefined) return known;
    const rpc = new RpcConnection(address, this.credentials, { deadlineMs: this.deadlineMs });
    const connection: Connection = {
      client: {
        operations: createClient(OperationService, rpc.transport),
        inventory: createClient(InventoryService, rpc.transport),
      },
      rpc,
      failures: 0,
      lastReason: '',
      nextCall: 0,
    };
    this.#connections.set(address, connection);
    return connection;
  }
}
