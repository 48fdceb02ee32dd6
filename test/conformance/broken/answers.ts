import { ConnectError, createClient, type Transport } from '@connectrpc/connect';
import { FaultService } from '../../../src/rpc/gen/steward/worker/v1/fault_pb.js';
import {
  InventoryService,
  type ListEpochsRequest,
  type ListEpochsResponse,
  type ListRegionsRequest,
  type ListRegionsResponse,
} from '../../../src/rpc/gen/steward/worker/v1/inventory_pb.js';
import { type GetNodeInfoResponse, NodeService } from '../../../src/rpc/gen/steward/worker/v1/node_pb.js';
import {
  type CancelRequest,
  type CancelResponse,
  type GetRequest,
  type GetResponse,
  OperationService,
  type SubmitRequest,
  type SubmitResponse,
} from '../../../src/rpc/gen/steward/worker/v1/operation_pb.js';

/** What a node answers, call by call. */
export interface Answers {
  submit(request: SubmitRequest): Promise<SubmitResponse>;
  get(request: GetRequest): Promise<GetResponse>;
  cancel(request: CancelRequest): Promise<CancelResponse>;
  listRegions(request: ListRegionsRequest): Promise<ListRegionsResponse>;
  listEpochs(request: ListEpochsRequest): Promise<ListEpochsResponse>;
  getNodeInfo(): Promise<GetNodeInfoResponse>;
}

/** The answers of a real node, and its faults. */
export function truthOf(transport: Transport) {
  const operations = createClient(OperationService, transport);
  const inventory = createClient(InventoryService, transport);
  const node = createClient(NodeService, transport);
  const faults = createClient(FaultService, transport);
  const truth: Answers = {
    submit: (request) => passOn(operations.submit(request)),
    get: (request) => passOn(operations.get(request)),
    cancel: (request) => passOn(operations.cancel(request)),
    listRegions: (request) => passOn(inventory.listRegions(request)),
    listEpochs: (request) => passOn(inventory.listEpochs(request)),
    getNodeInfo: () => passOn(node.getNodeInfo({})),
  };
  return {
    truth,
    faults: {
      setFault: (request: Parameters<typeof faults.setFault>[0]) => passOn(faults.setFault(request)),
      clearFaults: () => passOn(faults.clearFaults({})),
      listFaults: () => passOn(faults.listFaults({})),
    },
  };
}

/** An error goes on with its code and message, and without the headers of the call that it came from. */
async function passOn<T>(call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (thrown) {
    const { rawMessage, code } = ConnectError.from(thrown);
    throw new ConnectError(rawMessage, code);
  }
}
