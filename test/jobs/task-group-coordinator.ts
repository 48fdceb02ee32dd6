import { createServer, type Http2Server, type ServerHttp2Session } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { Code, ConnectError, type ServiceImpl } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { fromBaggage } from '../../src/rpc/baggage.js';
import { NodeRegistryService } from '../../src/rpc/gen/steward/coordinator/v1/registry_pb.js';
import {
  type CommitCheckpointRequest,
  type NotifyTaskStatusRequest,
  TaskGroupService,
} from '../../src/rpc/gen/steward/coordinator/v1/task_groups_pb.js';
import type { TaskGroupCheckpoint, TaskGroupRef } from '../../src/rpc/gen/steward/worker/v1/operation_pb.js';

/** What becomes of a call before it is answered. */
export type Gate = 'open' | 'unavailable' | 'swallowed' | 'answer lost';

/**
 * A coordinator that keeps the contract of TaskGroupService in memory: one present execution for each location, and its
 * last checkpoint. It stays the same across `stop` and `start`.
 */
export class TaskGroupCoordinator {
  /** What was recorded, in order. */
  readonly commits: CommitCheckpointRequest[] = [];
  /** Every call that was answered as stale. */
  readonly staleCommits: CommitCheckpointRequest[] = [];
  /** Every call that came, answered or not. */
  readonly notifications: NotifyTaskStatusRequest[] = [];
  commitCalls = 0;
  /** On behalf of which workflow each commit came, by its baggage. */
  readonly commitCallers: (string | undefined)[] = [];
  commitGate: Gate = 'open';
  notifyGate: Gate = 'open';
  /** What is told of this job is never answered. */
  deafTo: string | undefined;
  readonly #present = new Map<string, bigint>();
  readonly #last = new Map<string, CommitCheckpointRequest>();
  readonly #sessions = new Set<ServerHttp2Session>();
  #server: Http2Server | undefined;
  #port = 0;

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Makes this the execution whose checkpoints are recorded; answers the checkpoint to restore it from. */
  claim(location: TaskGroupLocation, execution: number): TaskGroupCheckpoint | undefined {
    this.#present.set(keyOf(location), BigInt(execution));
    return this.#last.get(keyOf(location))?.checkpoint;
  }

  async start(): Promise<void> {
    const taskGroups: ServiceImpl<typeof TaskGroupService> = {
      commitCheckpoint: async (request, { signal, requestHeader }) => {
        this.commitCalls += 1;
        this.commitCallers.push(fromBaggage(requestHeader.get('baggage'))?.workflowId);
        await pass(this.commitGate === 'answer lost' ? 'open' : this.commitGate, signal);
        const stale = this.#commit(request);
        if (this.commitGate === 'answer lost') await pass('swallowed', signal);
        return { stale };
      },
      notifyTaskStatus: async (request, { signal }) => {
        this.notifications.push(request);
        const isDeaf = this.deafTo === request.taskGroup?.taskGroup?.jobId;
        await pass(isDeaf || this.notifyGate === 'answer lost' ? 'swallowed' : this.notifyGate, signal);
        return { stale: false };
      },
    };
    const registry: ServiceImpl<typeof NodeRegistryService> = {
      register: () => ({ incarnation: 1n, heartbeatInterval: { seconds: 1n } }),
      heartbeat: () => ({}),
    };
    const server = createServer(
      connectNodeAdapter({
        routes: (router) =>
          router.service(TaskGroupService, taskGroups).service(NodeRegistryService, registry),
      }),
    );
    server.on('session', (session) => {
      this.#sessions.add(session);
      session.once('close', () => this.#sessions.delete(session));
    });
    await new Promise<void>((resolve) => server.listen(this.#port, '127.0.0.1', () => resolve()));
    this.#port = (server.address() as AddressInfo).port;
    this.#server = server;
  }

  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    const closed = new Promise((resolve) => server.close(resolve));
    for (const session of this.#sessions) session.destroy();
    await closed;
  }

  #commit(request: CommitCheckpointRequest): boolean {
    const key = keyOf(request.taskGroup!);
    const last = this.#last.get(key);
    if (
      last?.execution === request.execution &&
      last.checkpoint?.checkpointId === request.checkpoint?.checkpointId
    ) {
      return false;
    }
    if (this.#present.get(key) !== request.execution) {
      this.staleCommits.push(request);
      return true;
    }
    this.#last.set(key, request);
    this.commits.push(request);
    return false;
  }
}

export type TaskGroupLocation = Pick<TaskGroupRef, 'catalogId' | 'jobId' | 'pipeline' | 'taskGroup'>;

function keyOf({ catalogId, jobId, pipeline, taskGroup }: TaskGroupLocation): string {
  return `${catalogId}/${jobId}/${pipeline}/${taskGroup}`;
}

async function pass(gate: Gate, signal: AbortSignal): Promise<void> {
  if (gate === 'unavailable') throw new ConnectError('the catalog is away', Code.Unavailable);
  if (gate !== 'swallowed') return;
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
  throw new ConnectError('nobody waits any more', Code.Canceled);
}
