import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { type Client as ConnectClient, createClient } from '@connectrpc/connect';
import { type Catalog, catalogId } from '../../src/catalog/catalog.js';
import { StewardClient } from '../../src/client/index.js';
import { readTransport } from '../../src/model/transport.js';
import { RpcConnection } from '../../src/rpc/connection.js';
import { Credentials } from '../../src/rpc/credentials.js';
import { FaultSchema, FaultService } from '../../src/rpc/gen/steward/worker/v1/fault_pb.js';
import { InventoryService } from '../../src/rpc/gen/steward/worker/v1/inventory_pb.js';
import { NodeService } from '../../src/rpc/gen/steward/worker/v1/node_pb.js';
import { OperationService } from '../../src/rpc/gen/steward/worker/v1/operation_pb.js';
import { openTestCatalog } from './catalog.js';
import { type Cluster, type ClusterOptions, startCluster } from './cluster.js';
import { eventually } from './eventually.js';

export type FaultInit = MessageInitShape<typeof FaultSchema>;

/** A whole Steward on real parts, its nodes alive, with a client and a look into catalog and disks. */
export interface Steward extends Cluster {
  client: StewardClient;
  catalog: Catalog;
  catalogId: string;
  /** RPC clients of a node's services. */
  rpc(nodeId: string): NodeRpc;
  fault(nodeId: string, fault: FaultInit): Promise<void>;
  clearFaults(nodeId?: string): Promise<void>;
  /** Ids of the region groups of which the node has a directory, sorted. Looks at the disk, asks nobody. */
  regionsOnDisk(nodeId: string): number[];
  /** Resolves when these nodes, or all whose processes run, are alive in the catalog. */
  nodesAlive(nodeIds?: readonly string[]): Promise<void>;
  /** A database with running region groups; answers their ids. */
  database(name: string, groups: number, replicationFactor?: number): Promise<number[]>;
  /** Ids of the operations whose effect the node really ran to an end, in order, by its log. */
  effects(nodeId: string, verb: string): string[];
  /** The history of a workflow: how many events, and which activities were scheduled. */
  events(operationId: string): Promise<{ total: number; activities: string[] }>;
}

export interface NodeRpc {
  readonly operations: ConnectClient<typeof OperationService>;
  readonly inventory: ConnectClient<typeof InventoryService>;
  readonly node: ConnectClient<typeof NodeService>;
  readonly faults: ConnectClient<typeof FaultService>;
}

export async function startSteward(options: ClusterOptions = {}): Promise<Steward> {
  const cluster = await startCluster({
    ...options,
    nodeEnv: { STEWARD_LOG_LEVEL: 'debug', ...options.nodeEnv },
    workerEnv: { STEWARD_RPC_DEADLINE_MS: '500', STEWARD_NODE_TIMEOUT_MS: '2000', ...options.workerEnv },
    coordinatorEnv: {
      STEWARD_HEARTBEAT_INTERVAL_MS: '300',
      STEWARD_NODE_TIMEOUT_MS: '2000',
      ...options.coordinatorEnv,
    },
  });
  const catalog = openTestCatalog(cluster.databaseUrl, 4);
  const transport = readTransport(options.transportEnv ?? {});
  const client = await StewardClient.connect({
    coordinatorUrl: cluster.coordinatorUrl,
    temporal: {
      address: cluster.temporalAddress,
      payloadKeysFile: options.transportEnv?.['STEWARD_PAYLOAD_KEYS_FILE'],
    },
    transport,
    actor: 'tester',
  });
  const credentials = new Credentials(transport);
  const connections: RpcConnection[] = [];
  const rpcs = new Map<string, NodeRpc>();
  const rpc = (nodeId: string): NodeRpc => {
    const baseUrl = cluster.nodeUrl(nodeId);
    const known = rpcs.get(baseUrl);
    if (known !== undefined) return known;
    const connection = new RpcConnection(baseUrl, credentials);
    connections.push(connection);
    const { transport: wire } = connection;
    const made: NodeRpc = {
      operations: createClient(OperationService, wire),
      inventory: createClient(InventoryService, wire),
      node: createClient(NodeService, wire),
      faults: createClient(FaultService, wire),
    };
    rpcs.set(baseUrl, made);
    return made;
  };
  const nodeIds = () => cluster.nodes.map(({ name }) => name);
  const id = await catalogId(catalog);
  // A copy of the cluster that keeps its getters.
  const steward = Object.defineProperties({}, Object.getOwnPropertyDescriptors(cluster)) as Steward;
  return Object.assign(steward, {
    client,
    catalog,
    catalogId: id,
    rpc,
    async fault(nodeId: string, fault: FaultInit) {
      await rpc(nodeId).faults.setFault({ fault: create(FaultSchema, fault) });
    },
    async clearFaults(nodeId?: string) {
      const of = nodeId === undefined ? nodeIds() : [nodeId];
      await Promise.all(of.map((one) => rpc(one).faults.clearFaults({})));
    },
    regionsOnDisk(nodeId: string): number[] {
      const directory = join(cluster.nodeDirectory(nodeId), 'regions', id);
      if (!existsSync(directory)) return [];
      return readdirSync(directory)
        .map(Number)
        .sort((a, b) => a - b);
    },
    async nodesAlive(of = cluster.nodes.filter(({ running }) => running).map(({ name }) => name)) {
      await eventually(`${of.join(', ')} alive`, async () => {
        const alive = (await client.nodes.list()).filter((node) => node.alive).map(({ nodeId }) => nodeId);
        return of.every((nodeId) => alive.includes(nodeId));
      });
    },
    async database(name: string, groups: number, replicationFactor = 3) {
      await steward.nodesAlive();
      await client.databases.create({ name });
      const creation = await client.regionGroups.create({
        database: name,
        kind: 'DATA',
        groups,
        replicationFactor,
      });
      await creation.result();
      return (await client.regionGroups.list({ database: name })).map(({ groupId }) => groupId);
    },
    effects(nodeId: string, verb: string) {
      const lines = readFileSync(cluster.node(nodeId).logFile, 'utf8').split('\n').filter(Boolean);
      return lines.flatMap((line) => {
        const { msg, operation } = parsed(line);
        const ended = msg === 'operation done' || msg === 'operation failed';
        return ended && operation?.startsWith(`${verb}/`) ? [operation] : [];
      });
    },
    async events(operationId: string) {
      const { events } = await cluster.temporal.client.workflow.getHandle(operationId).fetchHistory();
      const activities = (events ?? []).flatMap(({ activityTaskScheduledEventAttributes: scheduled }) =>
        scheduled?.activityType?.name ? [scheduled.activityType.name] : [],
      );
      return { total: events?.length ?? 0, activities };
    },
    async stop() {
      for (const connection of connections) connection.close();
      credentials.close();
      await client.close();
      await catalog.destroy();
      await cluster.stop();
    },
  });
}

function parsed(line: string): { msg?: string; operation?: string } {
  try {
    return JSON.parse(line) as { msg?: string; operation?: string };
  } catch {
    return {};
  }
}
