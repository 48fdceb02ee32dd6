import { setTimeout as pause } from 'node:timers/promises';
import { durationMs } from '@bufbuild/protobuf/wkt';
import { type CallOptions, type Client, Code, ConnectError, createClient } from '@connectrpc/connect';
import type { Logger } from '../log.js';
import { RpcConnection } from '../rpc/connection.js';
import type { Credentials } from '../rpc/credentials.js';
import { OptimizingService, type TouchResponse } from '../rpc/gen/steward/coordinator/v1/optimizing_pb.js';
import type { OptimizerOptions } from './options.js';
import type { Completion } from './outbox.js';

/** A coordinator that is there answers within milliseconds; one that does not is asked again. */
const CALL_TIMEOUT_MS = 5000;
/** The first one soon, since most outages are a restart; the last one so that a thousand optimizers are no load. */
const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 5000;
const DEFAULT_HEARTBEAT_MS = 5000;
const SHORTEST_HEARTBEAT_MS = 20;

/** The coordinator wants this process to end: its resource is released or unknown, or a newer launch registered. */
export class ToldToEnd extends Error {
  override readonly name = 'ToldToEnd';
}

/** The coordinator has refused this very call for good: ABORTED (stale) or INVALID_ARGUMENT. */
export class Refused extends Error {
  override readonly name = 'Refused';

  constructor(
    readonly stale: boolean,
    message: string,
  ) {
    super(message);
  }
}

type Service = Client<typeof OptimizingService>;

/**
 * Speaks to the coordinator under the token of this process, and asks again until it is answered: a coordinator that is
 * away loses nothing. A token that is not valid any more is replaced by registering again.
 */
export class CoordinatorLink {
  readonly #service: Service;
  readonly #connection: RpcConnection;
  #token = '';
  #heartbeatMs = DEFAULT_HEARTBEAT_MS;
  #registering: Promise<void> | undefined;
  #lastProblem: string | undefined;

  constructor(
    private readonly options: OptimizerOptions,
    credentials: Credentials,
    private readonly log: Logger,
  ) {
    this.#connection = new RpcConnection(options.coordinator, credentials, { deadlineMs: CALL_TIMEOUT_MS });
    this.#service = createClient(OptimizingService, this.#connection.transport);
  }

  /** As the coordinator told it last. */
  get heartbeatMs(): number {
    return this.#heartbeatMs;
  }

  /** Gets a token; asks until there is one. */
  async register(signal: AbortSignal): Promise<void> {
    await this.#untilAnswered(signal, () => this.#register(signal));
  }

  async heartbeat(signal: AbortSignal): Promise<void> {
    await this.call(signal, async (service, token, options) => {
      this.#heed(await service.touch({ ...this.#self(), token }, options));
    });
  }

  /**
   * Makes a call until it is answered.
   *
   * @throws Refused, ToldToEnd, or the reason of the signal
   */
  async call<T>(
    signal: AbortSignal,
    make: (service: Service, token: string, options: CallOptions) => Promise<T>,
  ): Promise<T> {
    return this.#untilAnswered(signal, async () => {
      const token = this.#token;
      try {
        return await make(this.#service, token, { signal });
      } catch (error) {
        if (answeredCode(error) !== Code.NotFound || signal.aborted) throw error;
        // Several threads find out at the same time; one registers for all.
        if (token === this.#token) {
          this.log.info('the token is not valid any more; registering again');
          this.#registering ??= this.#register(signal).finally(() => {
            this.#registering = undefined;
          });
          await this.#registering;
        }
        return await make(this.#service, this.#token, { signal });
      }
    });
  }

  /**
   * Brings the result of a task without a token, until it is answered.
   *
   * @throws Refused, ToldToEnd, or the reason of the signal
   */
  async complete(signal: AbortSignal, completion: Completion): Promise<void> {
    await this.#untilAnswered(signal, () => this.#service.completeTask(completion, { signal }));
  }

  close(): void {
    this.#connection.close();
  }

  async #register(signal: AbortSignal): Promise<void> {
    const reply = await this.#service.touch({ ...this.#self(), token: '' }, { signal });
    this.#token = reply.token;
    this.#heed(reply);
    const { resourceId, group, launch, threads, memoryMb } = this.options;
    this.log.info({ resource: resourceId, group, launch, threads, memoryMb }, 'registered');
  }

  async #untilAnswered<T>(signal: AbortSignal, ask: () => Promise<T>): Promise<T> {
    for (let retryMs = FIRST_RETRY_MS; ; retryMs = Math.min(retryMs * 2, LAST_RETRY_MS)) {
      signal.throwIfAborted();
      try {
        const answer = await ask();
        this.#lastProblem = undefined;
        return answer;
      } catch (error) {
        signal.throwIfAborted();
        const { code, rawMessage } = ConnectError.from(error);
        const answered = answeredCode(error);
        if (answered === Code.FailedPrecondition) throw new ToldToEnd(rawMessage);
        if (answered === Code.Aborted || answered === Code.InvalidArgument) {
          throw new Refused(answered === Code.Aborted, rawMessage);
        }
        this.#tell(`${Code[code]}: ${rawMessage}`);
      }
      // Spread, so that all optimizers do not come back in the same moment.
      await pause(retryMs * (0.5 + Math.random() / 2), undefined, { signal }).catch(() => undefined);
    }
  }

  #self() {
    const { resourceId, group, launch, threads, memoryMb, nodeId } = this.options;
    return { resourceId, group, launch: BigInt(launch), threads, memoryMb, nodeId };
  }

  #heed({ heartbeatInterval }: TouchResponse): void {
    const told = heartbeatInterval === undefined ? 0 : durationMs(heartbeatInterval);
    this.#heartbeatMs = told > 0 ? Math.max(told, SHORTEST_HEARTBEAT_MS) : DEFAULT_HEARTBEAT_MS;
  }

  /** Logs a problem once, until it changes or was over in between. */
  #tell(problem: string): void {
    if (problem === this.#lastProblem) return;
    this.#lastProblem = problem;
    this.log.warn(
      { coordinator: this.options.coordinator, problem },
      'cannot reach the coordinator; trying again',
    );
  }
}

/**
 * The code that the coordinator itself answered; undefined when the connection broke. The client tells a connection that
 * was reset as ABORTED too, and taking that for the verdict "stale" would drop a result that nobody else has.
 */
function answeredCode(error: unknown): Code | undefined {
  const { code, metadata } = ConnectError.from(error);
  return metadata.has('content-type') ? code : undefined;
}
