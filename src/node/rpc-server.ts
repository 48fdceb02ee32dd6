import { createServer, type Http2Server, type Http2ServerRequest, type ServerHttp2Session } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { type ConnectRouter, createContextValues } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { FaultService } from '../rpc/gen/steward/worker/v1/fault_pb.js';
import { InventoryService } from '../rpc/gen/steward/worker/v1/inventory_pb.js';
import { NodeService } from '../rpc/gen/steward/worker/v1/node_pb.js';
import { OperationService } from '../rpc/gen/steward/worker/v1/operation_pb.js';
import { faultInterceptor, tearDownKey } from './fault-interceptor.js';
import { faultService } from './fault-service.js';
import type { Faults } from './faults.js';
import { inventoryService } from './inventory-service.js';
import type { Ledger } from './ledger.js';
import type { NodeIdentity } from './node-identity.js';
import { operationService } from './operation-service.js';
import type { Operations } from './operations.js';
import type { RegionStore } from './region-store.js';

export interface WorkerContract {
  readonly identity: NodeIdentity;
  readonly operations: Operations;
  readonly store: RegionStore;
  readonly ledger: Ledger;
  readonly faults: Faults;
  /** Serves FaultService; UNIMPLEMENTED otherwise. */
  readonly allowFaults: boolean;
}

/** Serves the worker contract: Connect (protobuf and JSON) and gRPC over HTTP/2 on one port, in clear text. */
export class RpcServer {
  readonly #server: Http2Server;
  readonly #sessions = new Set<ServerHttp2Session>();

  constructor(contract: WorkerContract) {
    const { identity, operations, store, ledger, faults, allowFaults } = contract;
    const routes = (router: ConnectRouter): void => {
      router.service(OperationService, operationService(operations, identity));
      router.service(InventoryService, inventoryService(store, ledger, identity));
      router.service(NodeService, {
        getNodeInfo: () => ({ ...identity, capabilities: [...identity.capabilities] }),
      });
      if (allowFaults) router.service(FaultService, faultService(faults));
    };
    this.#server = createServer(
      connectNodeAdapter({
        routes,
        // A node and its control plane are near each other: compressing costs more time than it saves.
        compressMinBytes: 1 << 20,
        interceptors: allowFaults ? [faultInterceptor(faults)] : [],
        contextValues: (request) =>
          createContextValues().set(tearDownKey, () => tearDown(request as Http2ServerRequest)),
      }),
    );
    this.#server.on('session', (session) => {
      this.#sessions.add(session);
      session.once('close', () => this.#sessions.delete(session));
    });
  }

  /** Resolves with the base URL at which the server answers. */
  async listen(host: string, port: number): Promise<string> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, host, () => resolve());
    });
    const { address, family, port: bound } = this.#server.address() as AddressInfo;
    return `http://${family === 'IPv6' ? `[${address}]` : address}:${bound}`;
  }

  /** Takes no more calls; those under way are answered first, for at most `graceMs`. */
  async close(graceMs: number): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const session of this.#sessions) session.close();
    const cut = setTimeout(() => {
      for (const session of this.#sessions) session.destroy();
    }, graceMs);
    await closed;
    clearTimeout(cut);
  }
}

function tearDown({ stream }: Http2ServerRequest): void {
  // To the caller it looks like a connection that broke: nobody knows whether the call was handled.
  stream.close(2 /* NGHTTP2_INTERNAL_ERROR */);
}
