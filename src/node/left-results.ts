import { type Client, ConnectError, createClient } from '@connectrpc/connect';
import type { Logger } from '../log.js';
import { completionOf, type Outbox } from '../optimizer/outbox.js';
import type { RpcConnection } from '../rpc/connection.js';
import { OptimizingService } from '../rpc/gen/steward/coordinator/v1/optimizing_pb.js';

/** For all results of a place together: a release does not wait for a coordinator that is away. */
const HAND_IN_MS = 2000;

/** Brings the coordinator what an optimizer had merged and could not deliver any more, before its place goes. */
export class LeftResults {
  readonly #service: Client<typeof OptimizingService>;

  constructor(
    private readonly connection: RpcConnection,
    private readonly log: Logger,
  ) {
    this.#service = createClient(OptimizingService, connection.transport);
  }

  /** In the name of the resource, whose optimizer is gone. A result that is not taken is told: its task is planned again. */
  async handIn(resourceId: string, outbox: Outbox): Promise<void> {
    const signal = AbortSignal.timeout(HAND_IN_MS);
    for (const entry of outbox.list()) {
      const about = { resource: resourceId, task: entry.taskId, attempt: entry.attempt };
      try {
        await this.#service.completeTask(completionOf(resourceId, entry), { signal });
        outbox.remove(entry);
        this.log.info(about, 'a result that was left behind is on record');
      } catch (error) {
        const reason = ConnectError.from(error).message;
        this.log.warn({ ...about, reason }, 'a result that was left behind goes with its place');
      }
    }
  }

  close(): void {
    this.connection.close();
  }
}
