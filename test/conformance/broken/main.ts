import { startNode } from '../../../src/node/node.js';
import { readOptions } from '../../../src/node/options.js';
import { runProcess } from '../../../src/process.js';
import { RpcConnection } from '../../../src/rpc/connection.js';
import { Credentials } from '../../../src/rpc/credentials.js';
import { FaultService } from '../../../src/rpc/gen/steward/worker/v1/fault_pb.js';
import { InventoryService } from '../../../src/rpc/gen/steward/worker/v1/inventory_pb.js';
import { NodeService } from '../../../src/rpc/gen/steward/worker/v1/node_pb.js';
import { OperationService } from '../../../src/rpc/gen/steward/worker/v1/operation_pb.js';
import { RpcServer } from '../../../src/rpc/server.js';
import { truthOf } from './answers.js';
import { BROKEN_NODES } from './nodes.js';

/**
 * A node that breaks the contract in one way: the real reference node with somebody in front of it who passes everything
 * on but that. Takes the name of the way, then the flags of the reference node. Killed, both are gone.
 */
const [name, ...flags] = process.argv.slice(2);
const options = readOptions(flags);
const broken = BROKEN_NODES.find((one) => one.name === name);
if (options === 'help' || broken === undefined) throw new Error(`no broken node ${name}`);

await runProcess(`broken node ${name}`, async (log, stopping) => {
  broken.spoil?.(options.data);
  const node = await startNode({ ...options, port: 0 }, log);
  const credentials = new Credentials(options.transport);
  const { truth, faults } = truthOf(new RpcConnection(node.url, credentials).transport);
  const { nodeId, ledgerId } = node.identity;
  const answers = { ...truth, ...broken.lie?.(truth, { nodeId, ledgerId }) };
  const server = new RpcServer(
    {
      routes: (router) => {
        router.service(OperationService, {
          submit: answers.submit,
          get: answers.get,
          cancel: answers.cancel,
        });
        router.service(InventoryService, {
          listRegions: answers.listRegions,
          listEpochs: answers.listEpochs,
        });
        router.service(NodeService, { getNodeInfo: answers.getNodeInfo });
        router.service(FaultService, faults);
      },
    },
    credentials,
    log,
  );
  const url = await server.listen(options.host, options.port);
  const ended = stopping.then(() => process.exit(0));
  return { ready: { nodeId, ledgerId, url }, ended };
});
