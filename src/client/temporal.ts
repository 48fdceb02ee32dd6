import {
  Client,
  Connection,
  type ConnectionLike,
  WorkflowExecutionAlreadyStartedError,
  type WorkflowExecutionDescription,
  type WorkflowHandle,
  type WorkflowStartOptions,
} from '@temporalio/client';
import type { SearchAttributePair } from '@temporalio/common';
import {
  decodeOptionalFailureToOptionalError,
  decodeOptionalSinglePayload,
} from '@temporalio/common/lib/internal-non-workflow/index.js';
import { stewardActor, stewardDatabase, stewardResource } from '../../workflows/search-attributes.js';
import { messageOf } from '../message-of.js';
import type { Holder, HoldingWorkflow } from '../rules/words.js';
import { clientInterceptors } from '../temporal/client-spans.js';
import { temporalConfig } from '../temporal/connection.js';
import { Payloads } from '../temporal/payloads.js';
import { NotTrusted, reaching } from '../temporal/reaching.js';
import { Retries } from '../temporal/retries.js';
import { describeHolder, StewardError } from './errors.js';

/** How payloads are read and written. */
interface TemporalPayloads {
  /** File with the keys of encrypted payloads (docs/security.md); STEWARD_PAYLOAD_KEYS_FILE when absent. */
  readonly payloadKeysFile?: string | undefined;
}

/** Where Temporal is; what is absent comes from the standard configuration (environment, profile). */
export interface TemporalAddress extends TemporalPayloads {
  readonly address?: string | undefined;
  readonly namespace?: string | undefined;
  /** A server without TLS or keys, such as the local stack's: whatever profile there is, it is meant for another one. */
  readonly plain?: boolean | undefined;
}

/** A connection of one's own, which stays open when the client is closed. */
export interface TemporalConnection extends TemporalPayloads {
  readonly connection: ConnectionLike;
  readonly namespace?: string;
}

export type TemporalTarget = TemporalAddress | TemporalConnection;

/** Without an answer for this long the server counts as away. */
const CONNECT_TIMEOUT_MS = 3_000;
/** A killed worker's workflow task waits this long. */
const WORKFLOW_TASK_TIMEOUT = '3s';

/** What a client starts: what claims regions, and what looks after them. */
export type OperationType =
  | HoldingWorkflow
  | 'sweepReplicas'
  | 'drainLegacyQueue'
  | 'planOptimizing'
  | 'commitTable'
  | 'healStuckCommits'
  | 'keepOptimizerGroup'
  | 'ensureKeepers'
  | 'sweepTables'
  | 'purgeJobState'
  | 'sweepJobs';

/** A workflow to start. */
export interface Start {
  readonly workflowType: OperationType;
  readonly workflowId: string;
  readonly input: { readonly actor: string };
  /** One line for the Web UI. */
  readonly summary: string;
  /** Markdown for the Web UI. */
  readonly details: string;
  readonly database?: string;
  readonly resource: string;
  /**
   * When it runs already: told apart from another request of the same id by this. Absent: refused, whatever runs.
   */
  readonly attachIf?: Readonly<Record<string, unknown>>;
}

/** A connection that is closed with the client. */
interface OwnConnection {
  readonly connection: Connection;
  readonly retries: Retries;
}

/** Temporal as the client asks it. */
export class Temporal {
  private constructor(
    readonly client: Client,
    readonly name: string,
    readonly taskQueue: string,
    private readonly own: { readonly connection?: OwnConnection; readonly payloads: Payloads },
  ) {}

  /** @throws StewardError UNAVAILABLE when the server does not answer */
  static async connect(target: TemporalTarget, taskQueue: string): Promise<Temporal> {
    const interceptors = await clientInterceptors();
    if ('connection' in target) {
      const { connection, namespace = 'default' } = target;
      const payloads = readable(() => Payloads.of(target.payloadKeysFile));
      const dataConverter = payloads.ofClient;
      const client = new Client({ connection, namespace, dataConverter, interceptors });
      return new Temporal(client, 'Temporal', taskQueue, { payloads });
    }
    const config = readable(() => (target.plain ? PLAIN : temporalConfig()));
    const payloads = readable(() => (target.plain ? new Payloads({}) : Payloads.of(target.payloadKeysFile)));
    const address = target.address ?? config.connectionOptions.address ?? '127.0.0.1:7233';
    const name = `Temporal at ${address}`;
    try {
      const options = { ...config.connectionOptions, address };
      const retries = new Retries();
      const connection = await reaching(options, () =>
        Connection.connect({
          ...options,
          interceptors: retries.interceptors,
          connectTimeout: CONNECT_TIMEOUT_MS,
        }),
      );
      const namespace = target.namespace ?? config.namespace;
      const dataConverter = payloads.ofClient;
      const client = new Client({ connection, namespace, dataConverter, interceptors });
      return new Temporal(client, name, taskQueue, { connection: { connection, retries }, payloads });
    } catch (error) {
      payloads.close();
      if (error instanceof NotTrusted) throw new StewardError('REJECTED', error.message, { cause: error });
      const told = StewardError.from(error, name);
      if (told.code === 'REJECTED') throw told;
      throw new StewardError('UNAVAILABLE', `${name} cannot be reached: see whether it runs`, {
        cause: error,
      });
    }
  }

  /** Asks; what fails becomes a StewardError. */
  ask<T>(question: (client: Client) => Promise<T>): Promise<T> {
    return this.#ask(this.client, question);
  }

  /** Asks for what stands in no payload: a list that has an operation of a lost key in it is still a list. */
  askWithoutKeys<T>(question: (client: Client) => Promise<T>): Promise<T> {
    const { connection, options } = this.client;
    const dataConverter = this.own.payloads.ofOnlooker;
    return this.#ask(new Client({ connection, namespace: options.namespace, dataConverter }), question);
  }

  async #ask<T>(client: Client, question: (client: Client) => Promise<T>): Promise<T> {
    try {
      return await question(client);
    } catch (error) {
      throw StewardError.from(error, this.name);
    }
  }

  /**
   * Starts a workflow under an id that nothing else may run under. Whoever runs there already is described, never looked
   * up in a listing, which lags (I5).
   *
   * @throws StewardError HELD with the holder, when the id runs and `attachIf` does not say to attach; REJECTED when it
   * does, but the request is another one
   */
  async start(
    start: Start,
  ): Promise<{ readonly handle: WorkflowHandle; readonly runId: string; readonly attached: boolean }> {
    for (;;) {
      try {
        const handle = await this.ask((client) =>
          client.workflow.start(start.workflowType, this.#options(start)),
        );
        return { handle, runId: handle.firstExecutionRunId, attached: false };
      } catch (error) {
        if (!isAlreadyStarted(error)) throw error;
      }
      const running = await this.describeOpen(start.workflowId);
      // It ended in between: nothing is in the way any more.
      if (running === undefined) continue;
      const { holder, memo } = running;
      if (start.attachIf === undefined || holder.workflowType !== start.workflowType) {
        throw new StewardError(
          'HELD',
          `it runs already: ${describeHolder(holder)}: wait until it ends, or look at it`,
          {
            holder,
          },
        );
      }
      requireSameRequest(start, memo);
      const handle = this.client.workflow.getHandle(start.workflowId, undefined, {
        firstExecutionRunId: holder.firstRunId,
      });
      return { handle, runId: holder.firstRunId, attached: true };
    }
  }

  /** The open workflow of an id, as a holder; undefined when none runs. */
  async describeOpen(
    workflowId: string,
  ): Promise<{ readonly holder: Holder; readonly memo: Record<string, unknown> } | undefined> {
    try {
      const description = await this.ask((client) => client.workflow.getHandle(workflowId).describe());
      const { status, memo } = description;
      if (status.name !== 'RUNNING' && status.name !== 'PAUSED') return undefined;
      return { holder: holderOf(description), memo: memo ?? {} };
    } catch (error) {
      if (error instanceof StewardError && error.code === 'NOT_FOUND') return undefined;
      throw error;
    }
  }

  /** A text that stands with something as a payload. */
  async decode(payload: Parameters<typeof decodeOptionalSinglePayload>[1]): Promise<string | undefined> {
    const { loadedDataConverter } = this.client.options;
    return (await decodeOptionalSinglePayload<string>(loadedDataConverter, payload)) ?? undefined;
  }

  /** What a failure says, also when that is encoded. */
  async messageOf(
    failure: Parameters<typeof decodeOptionalFailureToOptionalError>[1],
  ): Promise<string | undefined> {
    const { loadedDataConverter } = this.client.options;
    return (await decodeOptionalFailureToOptionalError(loadedDataConverter, failure))?.message;
  }

  async close(): Promise<void> {
    this.own.payloads.close();
    if (this.own.connection === undefined) return;
    const { connection, retries } = this.own.connection;
    await retries.end();
    await connection.close();
  }

  #options({
    workflowId,
    input,
    summary,
    details,
    database,
    resource,
    attachIf,
  }: Start): WorkflowStartOptions {
    return {
      workflowId,
      taskQueue: this.taskQueue,
      args: [input],
      workflowIdConflictPolicy: 'FAIL',
      workflowIdReusePolicy: 'ALLOW_DUPLICATE',
      workflowTaskTimeout: WORKFLOW_TASK_TIMEOUT,
      staticSummary: summary,
      staticDetails: details,
      ...(attachIf && { memo: { ...attachIf } }),
      typedSearchAttributes: [
        ...(database === undefined ? [] : [pair(stewardDatabase, database)]),
        pair(stewardResource, resource),
        pair(stewardActor, input.actor),
      ],
    };
  }
}

const PLAIN: Pick<ReturnType<typeof temporalConfig>, 'connectionOptions' | 'namespace'> = {
  connectionOptions: {},
  namespace: 'default',
};

function readable<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    const reason = messageOf(error);
    throw new StewardError(
      'INVALID_INPUT',
      `the configuration of Temporal's clients cannot be read: ${reason}`,
      {
        cause: error,
      },
    );
  }
}

function pair(key: typeof stewardActor, value: string): SearchAttributePair {
  return { key, value };
}

function isAlreadyStarted(error: unknown): boolean {
  return error instanceof StewardError && error.cause instanceof WorkflowExecutionAlreadyStartedError;
}

function requireSameRequest({ workflowId, attachIf }: Start, memo: Record<string, unknown>): void {
  const other = Object.entries(attachIf!).filter(([field, value]) => field in memo && memo[field] !== value);
  if (other.length === 0) return;
  const asked = other
    .map(([field, value]) => `${field} ${String(memo[field])} instead of ${String(value)}`)
    .join(', ');
  throw new StewardError('REJECTED', `${workflowId} runs already with ${asked}: give another request name`, {
    details: 'REQUEST_REUSED',
  });
}

/** A described workflow as a holder. */
export function holderOf(description: WorkflowExecutionDescription): Holder {
  return {
    workflowId: description.workflowId,
    firstRunId: description.raw.workflowExecutionInfo?.firstRunId || description.runId,
    workflowType: description.type as HoldingWorkflow,
    actor: description.typedSearchAttributes.get(stewardActor) ?? 'unknown',
    since: description.startTime.toISOString(),
  };
}
