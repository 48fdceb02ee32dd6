import type { Http2ServerRequest } from 'node:http2';
import { type ConnectRouter, createContextValues } from '@connectrpc/connect';
import type { Logger } from '../log.js';
import type { Credentials } from '../rpc/credentials.js';
import { FaultService } from '../rpc/gen/steward/worker/v1/fault_pb.js';
import { InventoryService } from '../rpc/gen/steward/worker/v1/inventory_pb.js';
import { NodeService } from '../rpc/gen/steward/worker/v1/node_pb.js';
import { OperationService } from '../rpc/gen/steward/worker/v1/operation_pb.js';
import { RpcServer } from '../rpc/server.js';
import { faultInterceptor, tearDownKey } from './fault-interceptor.js';
import { faultService } from './fault-service.js';
import type { Faults } from './faults.js';
import { inventoryService } from './inventory-service.js';
import type { Ledger } from './ledger.js';
import type { NodeIdentity } from './node-identity.js';
import { nodeService } from './node-service.js';
import { operationService } from './operation-service.js';
import type { Operations } from './operations.js';
import type { RegionStore } from './region-store.js';
import type { ResourceInventory } from './resource-inventory.js';
import type { TaskGroupInventory } from './task-groups/inventory.js';
import type { Turns } from './turns.js';

export interface WorkerContract {
  readonly identity: NodeIdentity;
  readonly operations: Operations;
  readonly store: RegionStore;
  readonly ledger: Ledger;
  /** Of a node that has the capability `resources`. */
  readonly resources: ResourceInventory | undefined;
  /** Of a node that has the capability `task-groups`. */
  readonly taskGroups: TaskGroupInventory | undefined;
  readonly faults: Faults;
  /** Serves FaultService; UNIMPLEMENTED otherwise. */
  readonly allowFaults: boolean;
  /** The data directory. */
  readonly data: string;
  readonly turns: Turns;
}

/** The server of the worker contract. */
export function contractServer(contract: WorkerContract, credentials: Credentials, log: Logger): RpcServer {
  const { identity, operations, store, ledger, resources, taskGroups, faults, allowFaults } = contract;
  const routes = (router: ConnectRouter): void => {
    router.service(OperationService, operationService(operations, identity));
    const inventory = inventoryService(store, ledger, identity, resources, taskGroups);
    router.service(InventoryService, inventory);
    router.service(NodeService, nodeService(identity, contract.data, contract.turns));
    if (allowFaults) router.service(FaultService, faultService(faults));
  };
  return new RpcServer(
    {
      routes,
      interceptors: allowFaults ? [faultInterceptor(faults)] : [],
      contextValues: (request) =>
        createContextValues().set(tearDownKey, () => tearDown(request as Http2ServerRequest)),
    },
    credentials,
    log,
  );
}

function tearDown({ stream }: Http2ServerRequest): void {
  // To the caller it looks like a connection that broke: nobody knows whether the call was handled.
  stream.close(2 /* NGHTTP2_INTERNAL_ERROR */);
}
