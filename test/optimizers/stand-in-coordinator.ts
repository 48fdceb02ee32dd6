import { createServer, type Http2Server } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import type { MergeTask, TaskResult } from '../../src/optimizer/task.js';
import {
  OptimizingService,
  type TouchRequest,
} from '../../src/rpc/gen/steward/coordinator/v1/optimizing_pb.js';
import type { TaskResult as TaskResultMessage } from '../../src/rpc/gen/steward/worker/v1/inventory_pb.js';

interface Handed {
  readonly task: MergeTask;
  state: 'PLANNED' | 'SCHEDULED' | 'ACKED' | 'DONE';
  result?: TaskResult;
}

/**
 * The optimizers' side of a coordinator, in memory and served for real: for what the coordinator of the product would not
 * do on demand, such as to refuse, to forget a token, or to be away.
 */
export class StandInCoordinator {
  /** Every call that was handled, in order, by its name; `Touch` without a token is `Register`. */
  readonly calls: string[] = [];
  /** Every registration. */
  readonly registered: TouchRequest[] = [];
  /** Every result that CompleteTask brought, whatever was answered; without a token, the resource stands for it. */
  readonly completions: { taskId: string; attempt: number; token: string; result: TaskResult }[] = [];
  /** Answers a call with an error instead of handling it. */
  refuse: (call: string, about: { taskId?: string }) => Code | undefined = () => undefined;
  heartbeatMs = 100;
  /** Holds back that PollTask is refused. */
  holdPollRefusal: () => Promise<void> = async () => undefined;
  /** Holds back that CompleteTask is answered. */
  holdCompletion: () => Promise<void> = async () => undefined;
  readonly #tasks: Handed[] = [];
  #server: Http2Server | undefined;
  #port = 0;
  #token = '';
  #tokens = 0;
  readonly #sessions = new Set<{ destroy(): void }>();

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Serves, on the same port as before when it was away. */
  async start(): Promise<void> {
    const server = createServer(
      connectNodeAdapter({
        routes: (router) => {
          router.service(OptimizingService, {
            touch: (request) => this.#touch(request),
            pollTask: async ({ token }) => {
              try {
                this.#enter('PollTask', token);
              } catch (refusal) {
                await this.holdPollRefusal();
                throw refusal;
              }
              const next = this.#tasks.find(({ state }) => state === 'PLANNED');
              if (next === undefined) return { retryAfter: durationFromMs(20) };
              next.state = 'SCHEDULED';
              return { task: messageOf(next.task) };
            },
            ackTask: ({ token, taskId, attempt }) => {
              this.#enter('AckTask', token, taskId);
              this.#handed(taskId, attempt).state = 'ACKED';
              return {};
            },
            completeTask: async ({ token, resourceId, taskId, attempt, result }) => {
              const outcome = resultFrom(result);
              this.completions.push({ taskId, attempt, token: token || resourceId, result: outcome });
              await this.holdCompletion();
              // What has no token comes in the name of its resource.
              this.#enter('CompleteTask', token || this.#token, taskId);
              const handed = this.#handed(taskId, attempt);
              handed.state = 'DONE';
              handed.result ??= outcome;
              return {};
            },
          });
        },
      }),
    );
    server.on('session', (session) => {
      this.#sessions.add(session);
      session.once('close', () => this.#sessions.delete(session));
    });
    await new Promise<void>((resolve) => server.listen(this.#port, '127.0.0.1', resolve));
    this.#port = (server.address() as AddressInfo).port;
    this.#server = server;
  }

  /** Is away: connections break, nobody answers. */
  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    for (const session of this.#sessions) session.destroy();
    await closed;
  }

  plan(...tasks: readonly MergeTask[]): void {
    this.#tasks.push(...tasks.map((task) => ({ task, state: 'PLANNED' as const })));
  }

  /** The token is not valid any more. */
  forgetToken(): void {
    this.#token = '';
  }

  stateOf(taskId: string, attempt = 1): string {
    return this.#handed(taskId, attempt).state;
  }

  resultOf(taskId: string, attempt = 1): TaskResult | undefined {
    return this.#handed(taskId, attempt).result;
  }

  #touch(request: TouchRequest) {
    const { token } = request;
    this.#enter(token === '' ? 'Register' : 'Touch', token === '' ? this.#token : token);
    if (token === '') {
      this.registered.push(request);
      this.#token = `token-${++this.#tokens}`;
    }
    return { token: this.#token, heartbeatInterval: durationFromMs(this.heartbeatMs) };
  }

  #enter(call: string, token: string, taskId?: string): void {
    this.calls.push(call);
    const code = this.refuse(call, taskId === undefined ? {} : { taskId });
    if (code !== undefined) throw new ConnectError(`${call} is refused`, code);
    if (token !== this.#token) throw new ConnectError('no such token', Code.NotFound);
  }

  #handed(taskId: string, attempt: number): Handed {
    const found = this.#tasks.find(({ task }) => task.taskId === taskId && task.attempt === attempt);
    if (found === undefined) throw new ConnectError(`no task ${taskId}@${attempt}`, Code.Aborted);
    return found;
  }
}

function messageOf({ taskId, attempt, location, inputs, output }: MergeTask) {
  return {
    taskId,
    attempt,
    location,
    inputs: inputs.map(({ path, rows, bytes }) => ({ path, rows: BigInt(rows), bytes: BigInt(bytes) })),
    output,
  };
}

function resultFrom(message: TaskResultMessage | undefined): TaskResult {
  if (message?.outcome.case === 'error') return { error: message.outcome.value };
  const outputs = message?.outcome.case === 'merged' ? message.outcome.value.outputs : [];
  return {
    outputs: outputs.map(({ path, rows, bytes }) => ({ path, rows: Number(rows), bytes: Number(bytes) })),
  };
}
