import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { afterEach, beforeEach } from 'vitest';
import type { ResourceInfo } from '../../src/rpc/gen/steward/worker/v1/inventory_pb.js';
import { type NodeProcess, startNode } from '../node/node-process.js';
import { type Ask, ended, type Operation, statusOf, submit } from '../node/region-operations.js';
import { eventually } from '../support/eventually.js';
import { type LogLine, linesOf, lives } from './optimizer-process.js';
import { StandInCoordinator } from './stand-in-coordinator.js';

/** A catalog of its own for every test file. */
export const CATALOG = randomUUID();

export interface Wanted {
  readonly group?: string;
  readonly threads?: number;
  readonly memoryMb?: number;
  readonly properties?: Record<string, string>;
}

/** A launch of the resource; `epoch` is its number. */
export function request(resourceId: string, ask: Ask & Wanted = {}): Operation {
  const { epoch = 1, attempt = 1, nodeId = 'node-1', catalogId = CATALOG } = ask;
  const { group = 'default', threads = 1, memoryMb = 128, properties = {} } = ask;
  const value = { resource: { catalogId, resourceId }, group, threads, memoryMb, properties };
  return {
    operationId: `request-resource/${catalogId}/${resourceId}/${nodeId}@${epoch}#${attempt}`,
    epoch: BigInt(epoch),
    request: { case: 'requestResource', value },
  };
}

/** The end of the resource. */
export function release(resourceId: string, ask: Ask = {}): Operation {
  const { epoch = 1, attempt = 1, nodeId = 'node-1', catalogId = CATALOG } = ask;
  return {
    operationId: `release-resource/${catalogId}/${resourceId}/${nodeId}@${epoch}#${attempt}`,
    epoch: BigInt(epoch),
    request: { case: 'releaseResource', value: { resource: { catalogId, resourceId } } },
  };
}

/** A node for each test, which has the capability `resources`, and the coordinator of its optimizers. */
export class Host {
  node: NodeProcess = undefined as unknown as NodeProcess;
  coordinator = new StandInCoordinator();

  async open(): Promise<void> {
    this.coordinator = new StandInCoordinator();
    await this.coordinator.start();
    this.node = await startNode({ flags: [`--coordinator=${this.coordinator.url}`] });
  }

  async close(): Promise<void> {
    const resources = await this.list().catch(() => []);
    await this.node.end();
    // The directory of their place is gone: they end by themselves.
    for (const { processId } of resources) await gone(processId);
    await this.coordinator.stop();
  }

  /** Submits it, waits for its end, and gives back which process was started. */
  async start(operation: Operation): Promise<string> {
    await submit(this.node, operation);
    await ended(this.node, operation);
    const status = await statusOf(this.node, operation);
    if (status.result.case !== 'resource') throw new Error(`not started: ${status.error?.message}`);
    return status.result.value.processId;
  }

  async list(): Promise<ResourceInfo[]> {
    return (await this.node.inventory.listResources({ node: this.node.ref })).resources;
  }

  place(resourceId: string): string {
    return join(this.node.data, 'resources', CATALOG, resourceId);
  }

  /** Lines of the optimizer's log, of all its processes. */
  log(resourceId: string): LogLine[] {
    return linesOf(join(this.place(resourceId), 'optimizer.log'));
  }

  /** Pids of the optimizer processes that the node has spawned so far. */
  spawned(): number[] {
    return linesOf(this.node.process.logFile).flatMap(({ msg, pid }) =>
      msg === 'optimizer process spawned' ? [Number(pid)] : [],
    );
  }
}

export function hostForEachTest(): Host {
  const host = new Host();
  beforeEach(() => host.open());
  afterEach(() => host.close());
  return host;
}

export async function gone(processId: string): Promise<void> {
  if (processId === '') return;
  await eventually(`process ${processId} is gone`, () => !lives(processId));
}
