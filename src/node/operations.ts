import type { Operation, OperationStatus } from '../rpc/gen/steward/worker/v1/operation_pb.js';
import { digestOf, type Ledger, type LedgerRecord } from './ledger.js';
import { NO_PROGRESS, type NodeRequest, type Outcome, resourceOf } from './operation.js';
import { readOperation } from './operation-reading.js';
import {
  endedStatus,
  invalidStatus,
  processingStatus,
  resourceExhaustedStatus,
  staleEpochStatus,
  unknownStatus,
  unsupportedStatus,
} from './operation-status.js';
import { LiveOperation, type ResourceQueues } from './resource-queues.js';

export interface OperationsOptions {
  readonly nodeId: string;
  /** Operations that may be under way; what is beyond is RESOURCE_EXHAUSTED. */
  readonly maxPending: number;
  /** Whether the node can do it at all; what it cannot is UNSUPPORTED. */
  readonly supports: (request: NodeRequest) => boolean;
  /**
   * Why a request that is new cannot be taken now, beside so many of its verb that are under way: RESOURCE_EXHAUSTED.
   * Undefined when it can.
   */
  readonly full: (request: NodeRequest, underWay: () => number) => string | undefined;
}

/** What a Submit was answered with, and what it started. */
export interface Submission {
  /** Statuses in the order of the request, as they are when it is called. */
  statuses(): OperationStatus[];
  /** Resolves when everything that this call started is over. */
  readonly ended: Promise<unknown>;
}

const RETRY_AFTER_MS = 500;

/** Judges what is submitted, against the ledger and against what is under way. */
export class Operations {
  constructor(
    private readonly ledger: Ledger,
    private readonly queues: ResourceQueues,
    private readonly options: OperationsOptions,
  ) {}

  /**
   * Accepts or refuses each operation by itself (I10). The epoch is judged before anything else is, so that what is in
   * the past is refused whether it was recorded or not (I9); then a known id joins what runs or gets its recorded end
   * (I2, I3). All that is accepted is in the ledger before this returns; nothing is when it throws.
   *
   * @param busyMs refuses all that is not known yet with this delay
   */
  submit(entries: readonly Operation[], busyMs?: number): Submission {
    const raised = new Map<string, number>();
    const accepted = new Map<string, LiveOperation>();
    const verdicts = entries.map((entry): OperationStatus | string => {
      const reading = readOperation(entry, this.options.nodeId);
      if (!reading.ok) return invalidStatus(entry.operationId, reading.problem);
      const { id, epoch, request } = reading;
      if (!this.options.supports(request)) return unsupportedStatus(id, request.verb);
      const resource = resourceOf(request);
      const highest = raised.get(resource) ?? this.ledger.highestEpoch(resource);
      if (epoch < highest) return staleEpochStatus(id, resource, epoch, highest);
      const digest = digestOf(request);
      const running = accepted.get(id) ?? this.queues.find(id);
      const known = running?.pending ?? this.ledger.find(id);
      if (known !== undefined) {
        running?.span.asked();
        if (known.digest === digest) return 'outcome' in known ? recordedStatus(id, known) : id;
        return invalidStatus(id, `operation ${id} is known with another request: make a new attempt`);
      }
      if (busyMs !== undefined) return resourceExhaustedStatus(id, 'the node is busy (fault)', busyMs);
      if (this.queues.size + accepted.size >= this.options.maxPending) {
        const message = `${this.options.maxPending} operations are under way`;
        return resourceExhaustedStatus(id, message, RETRY_AFTER_MS);
      }
      const full = this.options.full(request, () => {
        const isLike = ({ pending }: LiveOperation): boolean => pending.request.verb === request.verb;
        return this.queues.count(isLike) + [...accepted.values()].filter(isLike).length;
      });
      if (full !== undefined) return resourceExhaustedStatus(id, full, RETRY_AFTER_MS);
      const seq = this.ledger.nextSeq();
      const acceptedAtMs = this.ledger.now();
      accepted.set(
        id,
        new LiveOperation({ id, seq, resource, epoch, digest, acceptedAtMs, request, progress: NO_PROGRESS }),
      );
      raised.set(resource, epoch);
      return id;
    });
    const live = [...accepted.values()];
    this.#accept(live, raised);
    return {
      statuses: () =>
        verdicts.map((verdict) => (typeof verdict === 'string' ? this.status(verdict) : verdict)),
      ended: Promise.all(live.map(({ ended }) => ended)),
    };
  }

  /** What is known of the operation; TASK_NOT_EXIST when it was never accepted here. */
  status(operationId: string): OperationStatus {
    const live = this.queues.find(operationId);
    if (live !== undefined) return processingStatus(live.pending, live.progress);
    // A key that is too long for LMDB was never accepted either.
    const canBeKnown = operationId !== '' && Buffer.byteLength(operationId) <= 512;
    const record = canBeKnown ? this.ledger.find(operationId) : undefined;
    return record === undefined ? unknownStatus(operationId) : recordedStatus(operationId, record);
  }

  /** Asks what can be canceled to end as FAIL(CANCELED); resolves with what they end as, once those that have not started ended. */
  cancel(operationIds: readonly string[]): Submission {
    const live = operationIds.flatMap((id) => this.queues.find(id) ?? []);
    for (const operation of live) this.queues.cancel(operation);
    return {
      statuses: () => operationIds.map((id) => this.status(id)),
      ended: Promise.all(live.map(({ ended }) => ended)),
    };
  }

  #accept(live: readonly LiveOperation[], raised: ReadonlyMap<string, number>): void {
    if (live.length === 0) return;
    const isOvertaken = ({ pending }: LiveOperation): boolean =>
      pending.epoch < raised.get(pending.resource)!;
    const waiting = [...raised].flatMap(([resource, epoch]) => this.queues.overtaken(resource, epoch));
    const overtaken = [...waiting, ...live.filter(isOvertaken)];
    const ends = overtaken.map((operation) => ({
      operation,
      outcome: supersededBy(raised.get(operation.pending.resource)!, this.ledger.now()),
    }));
    this.ledger.accept(
      live.map(({ pending }) => pending),
      ends.map(({ operation, outcome }) => ({ operation: operation.pending, outcome })),
    );
    this.queues.add(live.filter((operation) => !isOvertaken(operation)));
    for (const { operation, outcome } of ends) this.queues.drop(operation, outcome);
  }
}

function recordedStatus(operationId: string, { acceptedAtMs, outcome }: LedgerRecord): OperationStatus {
  if (outcome === undefined) throw new Error(`${operationId} is pending and nobody runs it`);
  return endedStatus(operationId, acceptedAtMs, outcome);
}

function supersededBy(epoch: number, endedAtMs: number): Outcome {
  const message = `an operation of epoch ${epoch} came before this one had started`;
  return { state: 'FAIL', code: 'SUPERSEDED', message, endedAtMs, progress: NO_PROGRESS };
}
