import { setTimeout as pause } from 'node:timers/promises';
import { durationMs } from '@bufbuild/protobuf/wkt';
import { type Client, Code, ConnectError, createClient } from '@connectrpc/connect';
import type { Logger } from '../log.js';
import { RpcConnection } from '../rpc/connection.js';
import type { Credentials } from '../rpc/credentials.js';
import { type NodeLimits, NodeRegistryService } from '../rpc/gen/steward/coordinator/v1/registry_pb.js';
import type { NodeIdentity } from './node-identity.js';
import type { Limits } from './turns.js';

export interface RegistrationOptions {
  /** Base URL of the coordinator. */
  readonly coordinator: string;
  /** Base URL at which the node is reached. */
  readonly address: string;
  /** UUID of this process. */
  readonly bootId: string;
  readonly identity: NodeIdentity;
  /** Task groups that run at a time. */
  readonly maxTaskGroups: number;
  readonly credentials: Credentials;
  /** Takes the limits that operators want now. */
  readonly limit: (limits: Limits) => Promise<void>;
  readonly log: Logger;
}

const CALL_TIMEOUT_MS = 3000;
const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 5000;
/** A refusal needs an operator; asked again at this pace until there was one. */
const REFUSED_RETRY_MS = 3000;
const DEFAULT_HEARTBEAT_MS = 1000;
const SHORTEST_HEARTBEAT_MS = 20;

/** Keeps the node known to the coordinator. The node serves all the same while the coordinator cannot be reached. */
export class Registration {
  readonly #connection: RpcConnection;
  readonly #client: Client<typeof NodeRegistryService>;
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;
  #lastProblem: string | undefined;

  constructor(private readonly options: RegistrationOptions) {
    this.#connection = new RpcConnection(options.coordinator, options.credentials);
    this.#client = createClient(NodeRegistryService, this.#connection.transport);
    this.#done = this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#done;
    this.#connection.close();
  }

  async #run(): Promise<void> {
    let heartbeatMs: number | undefined;
    let retryMs = FIRST_RETRY_MS;
    while (!this.#stop.signal.aborted) {
      try {
        if (heartbeatMs === undefined) heartbeatMs = await this.#register();
        else await this.#heartbeat();
        this.#lastProblem = undefined;
        retryMs = FIRST_RETRY_MS;
        await this.#wait(heartbeatMs);
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        const { code, rawMessage } = ConnectError.from(error);
        this.#tell(code, rawMessage);
        if (heartbeatMs !== undefined && code === Code.NotFound) heartbeatMs = undefined;
        else if (code === Code.FailedPrecondition) {
          heartbeatMs = undefined;
          await this.#wait(REFUSED_RETRY_MS);
        } else {
          await this.#wait(retryMs);
          retryMs = Math.min(retryMs * 2, heartbeatMs ?? LAST_RETRY_MS);
        }
      }
    }
  }

  async #register(): Promise<number> {
    const { identity, bootId, address, maxTaskGroups, log } = this.options;
    const { nodeId, ledgerId, capabilities } = identity;
    const reply = await this.#client.register(
      { nodeId, ledgerId, bootId, address, capabilities: [...capabilities], maxTaskGroups },
      { timeoutMs: CALL_TIMEOUT_MS, signal: this.#stop.signal },
    );
    identity.incarnation = reply.incarnation;
    await this.#takeLimits(reply.limits);
    const told = reply.heartbeatInterval === undefined ? 0 : durationMs(reply.heartbeatInterval);
    const heartbeatMs = told > 0 ? Math.max(told, SHORTEST_HEARTBEAT_MS) : DEFAULT_HEARTBEAT_MS;
    log.info({ incarnation: Number(reply.incarnation), heartbeatMs }, 'registered at the coordinator');
    return heartbeatMs;
  }

  async #heartbeat(): Promise<void> {
    const { nodeId, ledgerId, incarnation } = this.options.identity;
    const { limits } = await this.#client.heartbeat(
      { nodeId, ledgerId, incarnation },
      { timeoutMs: CALL_TIMEOUT_MS, signal: this.#stop.signal },
    );
    await this.#takeLimits(limits);
  }

  /** A coordinator that knows of no limits says nothing, and changes nothing. */
  async #takeLimits(limits: NodeLimits | undefined): Promise<void> {
    if (limits === undefined) return;
    const { deletions, creations } = limits;
    await this.options.limit({
      ...(deletions !== undefined && deletions > 0 && { deletions }),
      ...(creations !== undefined && creations > 0 && { creations }),
    });
  }

  async #wait(ms: number): Promise<void> {
    await pause(ms, undefined, { signal: this.#stop.signal }).catch(() => undefined);
  }

  /** Logs a problem once, until it changes or was over in between. */
  #tell(code: Code, message: string): void {
    const problem = `${Code[code]}: ${message}`;
    if (problem === this.#lastProblem) return;
    this.#lastProblem = problem;
    const { coordinator, log } = this.options;
    if (code === Code.FailedPrecondition) {
      log.error(
        { coordinator, problem },
        'the coordinator refuses this node: an operator must act; the node serves on',
      );
    } else {
      log.warn({ coordinator, problem }, 'cannot reach the coordinator; trying again');
    }
  }
}
