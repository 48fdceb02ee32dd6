import { type Client, createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest';
import { sendCallContext } from '../../src/rpc/baggage.js';
import { FaultService } from '../../src/rpc/gen/steward/worker/v1/fault_pb.js';
import { InventoryService } from '../../src/rpc/gen/steward/worker/v1/inventory_pb.js';
import { NodeService } from '../../src/rpc/gen/steward/worker/v1/node_pb.js';
import { OperationService } from '../../src/rpc/gen/steward/worker/v1/operation_pb.js';
import { temporaryDirectory } from '../support/guard.js';
import { startProgram, type TestProcess } from '../support/processes.js';

export interface NodeProcessOptions {
  /** Default: `node-1`. */
  readonly id?: string;
  /** Default: a temporary directory that `end` removes. */
  readonly data?: string;
  /** Further flags; `--allow-faults` is always there unless `allowFaults` is false. */
  readonly flags?: readonly string[];
  readonly allowFaults?: boolean;
}

/** A reference node as a process of its own, with clients that follow it across restarts. */
export interface NodeProcess {
  readonly process: TestProcess;
  readonly nodeId: string;
  readonly ledgerId: string;
  readonly url: string;
  /** The data directory. */
  readonly data: string;
  /** Names the node in requests. */
  readonly ref: { readonly nodeId: string; readonly ledgerId: string };
  readonly operations: Client<typeof OperationService>;
  readonly inventory: Client<typeof InventoryService>;
  readonly info: Client<typeof NodeService>;
  readonly faults: Client<typeof FaultService>;
  /** SIGKILL; resolves when the process is gone. */
  kill(): Promise<void>;
  /** SIGTERM; resolves with the exit code. */
  stop(): Promise<number | null>;
  /** Starts it again on the same data, with these flags added; kills it before when it still runs. */
  restart(...flags: readonly string[]): Promise<void>;
  /** Ends the process and removes the temporary directory. */
  end(): Promise<void>;
}

/** Starts a node from its build and waits until it serves. */
export async function startNode(options: NodeProcessOptions = {}): Promise<NodeProcess> {
  const nodeId = options.id ?? 'node-1';
  const home = temporaryDirectory(nodeId);
  const data = options.data ?? `${home.path}/data`;
  const allowFaults = options.allowFaults === false ? [] : ['--allow-faults'];
  let process: TestProcess;
  try {
    process = await startProgram({
      name: nodeId,
      program: 'src/node/main.ts',
      directory: home.path,
      args: ['--id', nodeId, '--data', data, ...allowFaults, ...(options.flags ?? [])],
    });
  } catch (error) {
    await home.remove();
    throw error;
  }
  let clients = connect(String(process.ready['url']));
  const ledgerId = (): string => String(process.ready['ledgerId']);
  return {
    process,
    nodeId,
    data,
    get ledgerId() {
      return ledgerId();
    },
    get url() {
      return String(process.ready['url']);
    },
    get ref() {
      return { nodeId, ledgerId: ledgerId() };
    },
    get operations() {
      return clients.operations;
    },
    get inventory() {
      return clients.inventory;
    },
    get info() {
      return clients.info;
    },
    get faults() {
      return clients.faults;
    },
    kill: () => process.kill(),
    async stop() {
      return (await process.stop()).code;
    },
    async restart(...flags) {
      await process.restart({ args: flags });
      clients = connect(String(process.ready['url']));
    },
    async end() {
      if (process.running) await process.kill();
      await home.remove();
    },
  };
}

/** A new node for each test of the file or `describe`, ended after it. */
export function nodeForEachTest(options?: NodeProcessOptions): NodeProcess {
  const { node, start, end } = nodeBetween(options);
  beforeEach(start);
  afterEach(end);
  return node;
}

/** One node for all tests of the `describe`, ended after the last one; no fault outlives the test that set it. */
export function nodeForAllTests(options?: NodeProcessOptions): NodeProcess {
  const { node, start, end } = nodeBetween(options);
  beforeAll(start);
  afterEach(async () => {
    await node.faults.clearFaults({});
  });
  afterAll(end);
  return node;
}

/** A node that stands for the one which runs between `start` and `end`. */
function nodeBetween(options?: NodeProcessOptions) {
  let running: NodeProcess | undefined;
  return {
    node: new Proxy({} as NodeProcess, {
      get(_, key) {
        if (running === undefined) throw new Error('the node has not been started yet');
        return running[key as keyof NodeProcess];
      },
    }),
    start: async () => {
      running = await startNode(options);
    },
    end: () => running?.end(),
  };
}

/** Clients over a connection of their own. */
export function connect(url: string) {
  const transport = createConnectTransport({
    baseUrl: url,
    httpVersion: '2',
    interceptors: [sendCallContext],
  });
  return {
    operations: createClient(OperationService, transport),
    inventory: createClient(InventoryService, transport),
    info: createClient(NodeService, transport),
    faults: createClient(FaultService, transport),
  };
}
