import { readFileSync } from 'node:fs';
import { createServer, type Http2Server, type ServerHttp2Session } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { Code, ConnectError, type ServiceImpl } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  type HeartbeatRequest,
  NodeRegistryService,
  type RegisterRequest,
} from '../../src/rpc/gen/steward/coordinator/v1/registry_pb.js';
import { eventually } from '../support/eventually.js';
import { type NodeProcess, startNode } from './node-process.js';
import { creation, finish } from './region-operations.js';

/** A coordinator that keeps what it is told and answers what a test wants. */
class StandInCoordinator {
  readonly registrations: RegisterRequest[] = [];
  readonly heartbeats: HeartbeatRequest[] = [];
  refusal: ConnectError | undefined;
  /** The incarnation that it knows; heartbeats of others are NOT_FOUND. */
  incarnation = 0n;
  readonly #sessions = new Set<ServerHttp2Session>();
  #server: Http2Server | undefined;
  #port = 0;

  async start(): Promise<void> {
    const service: ServiceImpl<typeof NodeRegistryService> = {
      register: (request) => {
        this.registrations.push(request);
        if (this.refusal !== undefined) throw this.refusal;
        this.incarnation += 1n;
        return { incarnation: this.incarnation, heartbeatInterval: { nanos: 30_000_000 } };
      },
      heartbeat: (request) => {
        this.heartbeats.push(request);
        if (request.incarnation !== this.incarnation) throw new ConnectError('register again', Code.NotFound);
        return {};
      },
    };
    const server = createServer(
      connectNodeAdapter({ routes: (router) => router.service(NodeRegistryService, service) }),
    );
    server.on('session', (session) => this.#sessions.add(session));
    await new Promise<void>((resolve) => server.listen(this.#port, '127.0.0.1', () => resolve()));
    this.#port = (server.address() as AddressInfo).port;
    this.#server = server;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    const closed = new Promise((resolve) => server.close(resolve));
    for (const session of this.#sessions) session.destroy();
    this.#sessions.clear();
    await closed;
  }
}

let coordinator: StandInCoordinator;
let node: NodeProcess | undefined;
beforeEach(async () => {
  coordinator = new StandInCoordinator();
  await coordinator.start();
});
afterEach(async () => {
  await node?.end();
  node = undefined;
  await coordinator.stop();
});

async function start(): Promise<NodeProcess> {
  node = await startNode({ flags: ['--coordinator', coordinator.url] });
  return node;
}

test('registers with what it is, sends heartbeats, and tells the incarnation it was given', async () => {
  coordinator.incarnation = 41n;
  const { nodeId, ledgerId, url, info } = await start();
  await eventually('three heartbeats', () => coordinator.heartbeats.length >= 3);
  expect(coordinator.registrations).toHaveLength(1);
  expect(coordinator.registrations[0]).toMatchObject({
    nodeId,
    ledgerId,
    address: url,
    capabilities: ['regions', 'resources', 'task-groups', 'faults'],
  });
  expect(coordinator.registrations[0]?.bootId).toMatch(/^[0-9a-f-]{36}$/);
  for (const heartbeat of coordinator.heartbeats)
    expect(heartbeat).toMatchObject({ nodeId, ledgerId, incarnation: 42n });
  expect((await info.getNodeInfo({})).incarnation).toBe(42n);
});

test('registers again as the same process when the coordinator does not know it any more', async () => {
  const { info } = await start();
  await eventually('a heartbeat', () => coordinator.heartbeats.length > 0);
  coordinator.incarnation = 9n;
  await eventually('it is registered again', async () => (await info.getNodeInfo({})).incarnation === 10n);
  expect(new Set(coordinator.registrations.map(({ bootId }) => bootId)).size).toBe(1);
});

test('is another process to the coordinator after a restart', async () => {
  const running = await start();
  await eventually('it is registered', () => coordinator.registrations.length === 1);
  await running.restart();
  await eventually('it is registered again', () => coordinator.registrations.length === 2);
  const [before, after] = coordinator.registrations;
  expect(after?.bootId).not.toBe(before?.bootId);
  expect(after?.ledgerId).toBe(before?.ledgerId);
});

test('serves while the coordinator is away, and registers when it is back', async () => {
  await coordinator.stop();
  const running = await start();
  expect(await finish(running, creation(1))).toEqual(['SUCCESS']);
  expect((await running.info.getNodeInfo({})).incarnation).toBe(0n);
  await coordinator.start();
  await eventually('it is registered', () => coordinator.registrations.length === 1);
});

test('logs a problem once until it changes, however often it tries', async () => {
  coordinator.refusal = new ConnectError('the catalog is away', Code.Unavailable);
  const running = await start();
  await eventually('it has tried three times', () => coordinator.registrations.length >= 3);
  coordinator.refusal = new ConnectError('the catalog is full', Code.Unavailable);
  const tries = coordinator.registrations.length;
  await eventually('it has tried again', () => coordinator.registrations.length >= tries + 2);
  const log = readFileSync(running.process.logFile, 'utf8');
  for (const problem of ['the catalog is away', 'the catalog is full']) {
    expect(log.split(problem).length - 1, problem).toBe(1);
  }
});

test('serves while the coordinator refuses it, says why, and asks again', async () => {
  coordinator.refusal = new ConnectError('known with another ledger', Code.FailedPrecondition);
  const running = await start();
  await eventually('it was refused', () => coordinator.registrations.length > 0);
  expect(await finish(running, creation(1))).toEqual(['SUCCESS']);
  await eventually('it says so', () =>
    readFileSync(running.process.logFile, 'utf8').includes('known with another ledger'),
  );
  coordinator.refusal = undefined;
  await eventually('it is registered', async () => (await running.info.getNodeInfo({})).incarnation === 1n);
});

test('does not register at all without --coordinator', async () => {
  node = await startNode();
  expect(await finish(node, creation(1))).toEqual(['SUCCESS']);
  expect((await node.info.getNodeInfo({})).incarnation).toBe(0n);
});
