import { serves } from '../lines.js';
import type { Scenario } from '../scenario.js';

export const workerContract: Scenario = {
  page: 'docs/worker-contract.md',
  steps: {
    "rpc NodeService/GetNodeInfo '{}'": { before: [serves(7070)], says: /"nodeId": ?"node-1"/ },
    'rpc OperationService/Submit "{$NODE,\\"operations\\":[$CREATE]}"': {
      says: /PROCESSING|SUCCESS|STALE_EPOCH/,
    },
    'rpc InventoryService/ListRegions "{$NODE}"': { says: /STATE_PRESENT/ },
    'rpc OperationService/Submit "{$NODE,\\"operations\\":[$DELETE]}"': { says: /PROCESSING|SUCCESS/ },
    'rpc OperationService/Get "{$NODE,\\"operationIds\\":[\\"delete-region/$CATALOG/42/node-1@2#2\\"]}"': {
      says: /TASK_NOT_EXIST/,
    },
    'rpc InventoryService/ListEpochs "{$NODE}"': { says: /"epoch": ?"2"/ },
    [`rpc OperationService/Get '{"node":{"nodeId":"node-1","ledgerId":"another"}}'`]: {
      says: /failed_precondition/,
    },
    'npx steward local start --detach': { exit: 3 },
    'npx steward local stop': { says: /stopped/ },
    'npx steward conformance --target http://127.0.0.1:7070': {
      line: 'npx steward conformance --target http://127.0.0.1:7070 --only identity submit',
    },
  },
};
