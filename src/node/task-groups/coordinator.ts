import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, Code, ConnectError, createClient } from '@connectrpc/connect';
import type { Logger } from '../../log.js';
import type { RpcConnection } from '../../rpc/connection.js';
import { TaskGroupService } from '../../rpc/gen/steward/coordinator/v1/task_groups_pb.js';
import { toCheckpointMessage, toRef, toTaskGroupInfo } from './messages.js';
import type { TaskGroupRecord, UnsettledCheckpoint } from './record.js';

const CALL_TIMEOUT_MS = 5000;
const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 5000;

/** What the coordinator made of it; `stale`: of another execution than the job's present one. */
export type Answer = 'recorded' | 'stale';

/** The coordinator refuses it for what it says; asking again does not help. */
export class Refused extends Error {
  override readonly name = 'Refused';
}

/** What a node tells the coordinator about its task groups; each is repeated until it is answered. */
export class Coordinator {
  readonly #client: Client<typeof TaskGroupService>;

  constructor(
    private readonly connection: RpcConnection,
    private readonly node: { readonly nodeId: string; readonly ledgerId: string },
  ) {
    this.#client = createClient(TaskGroupService, connection.transport);
  }

  /** Makes a checkpoint part of the job. Throws `Refused`, or the reason of the signal. */
  async commit(
    { location, owner, execution }: TaskGroupRecord,
    { checkpoint, last }: UnsettledCheckpoint,
    signal: AbortSignal,
    log: Logger,
  ): Promise<Answer> {
    const request = {
      ...this.node,
      taskGroup: toRef(location),
      owner,
      execution: BigInt(execution),
      checkpoint: toCheckpointMessage(checkpoint),
      last,
    };
    return this.#untilAnswered(signal, log, 'a checkpoint', (options) =>
      this.#client.commitCheckpoint(request, options),
    );
  }

  /** Tells how a task group ended, until it is answered. Throws the reason of the signal. */
  async notify(record: TaskGroupRecord, signal: AbortSignal, log: Logger): Promise<Answer> {
    const request = { ...this.node, taskGroup: toTaskGroupInfo(record) };
    return this.#untilAnswered(signal, log, 'the end of a task group', (options) =>
      this.#client.notifyTaskStatus(request, options),
    );
  }

  close(): void {
    this.connection.close();
  }

  async #untilAnswered(
    signal: AbortSignal,
    log: Logger,
    what: 'a checkpoint' | 'the end of a task group',
    call: (options: { signal: AbortSignal; timeoutMs: number }) => Promise<{ stale: boolean }>,
  ): Promise<Answer> {
    let lastProblem: string | undefined;
    for (let retryMs = FIRST_RETRY_MS; ; retryMs = Math.min(retryMs * 2, LAST_RETRY_MS)) {
      signal.throwIfAborted();
      try {
        const { stale } = await call({ signal, timeoutMs: CALL_TIMEOUT_MS });
        return stale ? 'stale' : 'recorded';
      } catch (error) {
        signal.throwIfAborted();
        const { code, rawMessage } = ConnectError.from(error);
        if (code === Code.InvalidArgument && what === 'a checkpoint') {
          throw new Refused(`the coordinator refuses ${what}: ${rawMessage}`, { cause: error });
        }
        const problem = `${Code[code]}: ${rawMessage}`;
        if (problem !== lastProblem)
          log.warn({ problem }, `cannot tell the coordinator ${what}; trying again`);
        lastProblem = problem;
      }
      await sleep(retryMs, undefined, { signal }).catch(() => undefined);
    }
  }
}
