import { randomUUID } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { FaultSchema } from '../../src/rpc/gen/steward/worker/v1/fault_pb.js';
import { RegionInfo_State } from '../../src/rpc/gen/steward/worker/v1/inventory_pb.js';
import {
  OperationError_Code,
  type OperationSchema,
  OperationState,
  type OperationStatus,
  Refusal_Code,
  RegionKind,
} from '../../src/rpc/gen/steward/worker/v1/operation_pb.js';
import { eventually } from '../support/eventually.js';
import type { NodeProcess } from './node-process.js';

export interface Operation {
  readonly operationId: string;
  readonly epoch: bigint;
  readonly request?: NonNullable<MessageInitShape<typeof OperationSchema>['request']>;
}

/** A catalog of its own for every test file. */
export const CATALOG = randomUUID();

export interface Ask {
  readonly epoch?: number;
  readonly attempt?: number;
  readonly nodeId?: string;
  readonly catalogId?: string;
}

/** A creation of the region on the node. */
export function creation(
  groupId: number,
  ask: Ask & { database?: string; kind?: RegionKind } = {},
): Operation {
  const { epoch = 1, attempt = 1, nodeId = 'node-1', catalogId = CATALOG } = ask;
  const { database = 'db', kind = RegionKind.DATA } = ask;
  const region = { catalogId, groupId: BigInt(groupId) };
  const value = { region, database, kind, peers: [nodeId, 'node-2', 'node-3'] };
  return {
    operationId: `create-region/${catalogId}/${groupId}/${nodeId}@${epoch}#${attempt}`,
    epoch: BigInt(epoch),
    request: { case: 'createRegion', value },
  };
}

/** A deletion of the region on the node. */
export function deletion(groupId: number, ask: Ask = {}): Operation {
  const { epoch = 1, attempt = 1, nodeId = 'node-1', catalogId = CATALOG } = ask;
  return {
    operationId: `delete-region/${catalogId}/${groupId}/${nodeId}@${epoch}#${attempt}`,
    epoch: BigInt(epoch),
    request: { case: 'deleteRegion', value: { region: { catalogId, groupId: BigInt(groupId) } } },
  };
}

export async function submit(node: NodeProcess, ...operations: Operation[]): Promise<OperationStatus[]> {
  return (await node.operations.submit({ node: node.ref, operations })).statuses;
}

export async function statusOf(node: NodeProcess, operation: Operation): Promise<OperationStatus> {
  const { statuses } = await node.operations.get({ node: node.ref, operationIds: [operation.operationId] });
  return statuses[0]!;
}

export async function cancel(node: NodeProcess, operation: Operation): Promise<string> {
  const { statuses } = await node.operations.cancel({
    node: node.ref,
    operationIds: [operation.operationId],
  });
  return say(statuses[0]!);
}

/** Submits once and asks until every operation is over; answers how each ended. */
export async function finish(node: NodeProcess, ...operations: Operation[]): Promise<string[]> {
  await submit(node, ...operations);
  return Promise.all(operations.map((operation) => ended(node, operation)));
}

/** Asks until the operation is over; answers how it ended. */
export async function ended(node: NodeProcess, operation: Operation): Promise<string> {
  const status = await eventually(`the end of ${operation.operationId}`, async () => {
    const now = await statusOf(node, operation);
    return now.state === OperationState.PROCESSING ? undefined : now;
  });
  return say(status);
}

/** A status in a word: `SUCCESS`, `FAIL(IO)`, `REFUSED(STALE_EPOCH)`, ... */
export function say(status: OperationStatus): string {
  const state = OperationState[status.state];
  if (status.error !== undefined) return `${state}(${OperationError_Code[status.error.code]})`;
  if (status.refusal !== undefined) return `${state}(${Refusal_Code[status.refusal.code]})`;
  return state;
}

/** Where the region is on the disk of the node. */
export function directoryOf(node: NodeProcess, groupId: number, catalogId = CATALOG): string {
  return join(node.data, 'regions', catalogId, String(groupId));
}

/** Names of the region's files, in order; undefined when it is not there. */
export function filesOf(node: NodeProcess, groupId: number): string[] | undefined {
  const directory = directoryOf(node, groupId);
  return existsSync(directory) ? readdirSync(directory).sort() : undefined;
}

/** What is in a room of the data directory (`staging`, `trash`), however deep. */
export function leftIn(node: NodeProcess, room: 'staging' | 'trash'): string[] {
  return readdirSync(join(node.data, room), { recursive: true }).map(String);
}

/** The regions that the node lists: `<group id>:<state>@<epoch>`. */
export async function listed(node: NodeProcess): Promise<string[]> {
  const { regions } = await node.inventory.listRegions({ node: node.ref });
  return regions.map(({ region, state, epoch }) => `${region?.groupId}:${RegionInfo_State[state]}@${epoch}`);
}

export async function setFault(
  node: NodeProcess,
  fault: MessageInitShape<typeof FaultSchema>,
): Promise<void> {
  await node.faults.setFault({ fault });
}

/** A delay that lasts until the faults are cleared. */
export const FOR_EVER = { case: 'delay', value: { seconds: 100_000n } } as const;

/** The files of a region as it is made with the default flags. */
export const ALL_FILES = [
  ...Array.from({ length: 8 }, (_, i) => `data-000${i + 1}`),
  'peer.json',
  'region.json',
];
