import { createHash, randomUUID } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Database, open, type RootDatabase } from 'lmdb';
import type { Logger } from '../log.js';
import {
  NO_PROGRESS,
  type NodeRequest,
  type Outcome,
  type PendingOperation,
  type Progress,
  type Result,
} from './operation.js';

/** What the ledger knows of an operation id. */
export interface LedgerRecord {
  readonly resource: string;
  readonly epoch: number;
  readonly digest: string;
  readonly acceptedAtMs: number;
  /** Missing while the operation is pending. */
  readonly outcome?: Outcome;
}

interface PendingEntry {
  readonly id: string;
  readonly request: NodeRequest;
  readonly progress?: Progress;
}

interface Ending {
  readonly operation: PendingOperation;
  readonly outcome: Outcome;
  readonly durable: () => void;
}

export interface LedgerOptions {
  /** Directory of the LMDB environment; made when it is missing. */
  readonly path: string;
  readonly log: Logger;
  /** How long an outcome is kept after its end, at least. Default: 7 days. */
  readonly retentionMs?: number;
  /** Milliseconds since the epoch. Default: the system's clock. */
  readonly now?: () => number;
}

const SEVEN_DAYS_MS = 7 * 24 * 60 * 60 * 1000;
const RETRY_WRITE_MS = 1000;
const SWEEP_CHUNK = 1000;

/**
 * The node's durable memory of what it accepted and how it ended (I1, I2, I3), and of the highest epoch of every
 * resource (I9). Everything it confirms has been flushed to disk: acceptances before their effects start, outcomes
 * before they are told.
 */
export class Ledger {
  /** UUID made together with the ledger. */
  readonly id: string;
  /** Holds the facts about the data directory itself, under names. */
  readonly facts: Database<unknown, string>;
  readonly root: RootDatabase;
  readonly #operations: Database<LedgerRecord, string>;
  readonly #epochs: Database<number, string>;
  readonly #pending: Database<PendingEntry, number>;
  readonly #log: Logger;
  readonly #retentionMs: number;
  readonly #now: () => number;
  #nextSeq: number;
  #endings: Ending[] = [];
  #notes = new Map<number, Progress>();
  #flushIsDue = false;
  #closed = false;

  constructor(options: LedgerOptions) {
    this.#log = options.log;
    this.#retentionMs = options.retentionMs ?? SEVEN_DAYS_MS;
    this.#now = options.now ?? Date.now;
    this.root = open({ path: options.path, noSubdir: false, overlappingSync: false, maxDbs: 8 });
    this.facts = this.root.openDB({ name: 'facts' });
    this.#operations = this.root.openDB({ name: 'operations' });
    this.#epochs = this.root.openDB({ name: 'epochs' });
    this.#pending = this.root.openDB({ name: 'pending' });
    this.id = this.root.transactionSync(() => {
      const known = this.facts.get('ledgerId');
      if (typeof known === 'string') return known;
      const made = randomUUID();
      this.facts.putSync('ledgerId', made);
      return made;
    });
    this.#nextSeq = 1 + ([...this.#pending.getKeys({ reverse: true, limit: 1 })][0] ?? 0);
  }

  /** What is known of the operation; undefined when it was never accepted here, or its outcome was dropped. */
  find(operationId: string): LedgerRecord | undefined {
    return this.#operations.get(operationId);
  }

  /** Highest epoch ever accepted for the resource; 0 when there was none. Kept for ever (I9). */
  highestEpoch(resource: string): number {
    return this.#epochs.get(resource) ?? 0;
  }

  /** Resources and their highest epochs in the order of the resource, after `after`. */
  epochs(after: string, limit: number): { resource: string; epoch: number }[] {
    const range = this.#epochs.getRange(
      after === '' ? { limit } : { start: after, exclusiveStart: true, limit },
    );
    return [...range].map(({ key, value }) => ({ resource: key, epoch: value }));
  }

  /** Names a new operation's place in the order of acceptance. */
  nextSeq(): number {
    return this.#nextSeq++;
  }

  /** The time that outcomes are stamped with. */
  now(): number {
    return this.#now();
  }

  /**
   * Accepts operations and ends those that they overtake, all or nothing, in one flushed transaction. Throws when the
   * ledger could not be written: then nothing was accepted.
   */
  accept(
    accepted: readonly PendingOperation[],
    overtaken: readonly { operation: PendingOperation; outcome: Outcome }[],
  ): void {
    this.root.transactionSync(() => {
      for (const operation of accepted) {
        const { id, seq, resource, epoch, digest, acceptedAtMs, request } = operation;
        this.#operations.putSync(id, { resource, epoch, digest, acceptedAtMs });
        this.#pending.putSync(seq, { id, request });
        if (epoch > this.highestEpoch(resource)) this.#epochs.putSync(resource, epoch);
      }
      for (const { operation, outcome } of overtaken) this.#write(operation, outcome);
    });
  }

  /**
   * Records the end of an operation; resolves when it is flushed. All ends of one event-loop turn share a transaction.
   * A ledger that cannot be written is tried again: the operation stays PROCESSING until its end is on disk (I1).
   */
  async end(operation: PendingOperation, result: Result, progress: Progress): Promise<void> {
    if (this.#closed) throw new Error('the ledger is closed');
    const outcome: Outcome = { ...result, endedAtMs: this.#now(), progress };
    return new Promise((resolve) => {
      this.#endings.push({ operation, outcome, durable: resolve });
      this.#flushThisTurn();
    });
  }

  /** Remembers the progress of a long operation, so that it does not step back after a restart. */
  noteProgress(operation: PendingOperation, progress: Progress): void {
    if (this.#closed) return;
    this.#notes.set(operation.seq, progress);
    this.#flushThisTurn();
  }

  /** Writes what has ended; called once a turn, and before the ledger is closed. */
  flush(): void {
    if (this.#closed) return;
    this.#flushIsDue = false;
    const endings = this.#endings;
    const notes = this.#notes;
    this.#endings = [];
    this.#notes = new Map();
    try {
      this.root.transactionSync(() => {
        for (const [seq, progress] of notes) {
          const entry = this.#pending.get(seq);
          if (entry !== undefined) this.#pending.putSync(seq, { ...entry, progress });
        }
        for (const { operation, outcome } of endings) this.#write(operation, outcome);
      });
    } catch (error) {
      this.#log.error({ err: error, outcomes: endings.length }, 'the ledger cannot be written; trying again');
      this.#endings = [...endings, ...this.#endings];
      this.#flushIsDue = true;
      setTimeout(() => this.flush(), RETRY_WRITE_MS).unref();
      return;
    }
    for (const ending of endings) ending.durable();
  }

  #flushThisTurn(): void {
    if (this.#flushIsDue) return;
    this.#flushIsDue = true;
    setImmediate(() => this.flush());
  }

  #write(operation: PendingOperation, outcome: Outcome): void {
    const { id, seq, resource, epoch, digest, acceptedAtMs } = operation;
    this.#operations.putSync(id, { resource, epoch, digest, acceptedAtMs, outcome });
    this.#pending.removeSync(seq);
  }

  /** Operations that are not over, in the order of acceptance; read from an index, however many are recorded. */
  pending(): PendingOperation[] {
    return [...this.#pending.getRange()].map(({ key: seq, value: { id, request, progress } }) => {
      const record = this.#operations.get(id);
      if (record === undefined) throw new Error(`the ledger is damaged: ${id} is pending and not recorded`);
      const { resource, epoch, digest, acceptedAtMs } = record;
      return { id, seq, resource, epoch, digest, acceptedAtMs, request, progress: progress ?? NO_PROGRESS };
    });
  }

  /**
   * Drops the outcomes that a higher epoch of their resource superseded and that ended at least the retention ago. The
   * epoch stays, so that a dropped id is STALE_EPOCH for ever and never runs again (I2, I9). Returns how many it dropped.
   */
  async dropExpired(): Promise<number> {
    let dropped = 0;
    let last: string | undefined;
    while (!this.#closed) {
      const endedBefore = this.#now() - this.#retentionMs;
      const range = last === undefined ? {} : { start: last, exclusiveStart: true };
      const chunk = [...this.#operations.getRange({ ...range, limit: SWEEP_CHUNK })];
      const expired = chunk.filter(
        ({ value: { outcome, resource, epoch } }) =>
          outcome !== undefined && outcome.endedAtMs <= endedBefore && epoch < this.highestEpoch(resource),
      );
      if (expired.length > 0) {
        this.root.transactionSync(() => {
          for (const { key } of expired) this.#operations.removeSync(key);
        });
      }
      dropped += expired.length;
      if (chunk.length < SWEEP_CHUNK) break;
      last = chunk.at(-1)!.key;
      await nextTurn();
    }
    return dropped;
  }

  /** Writes what has ended and closes the environment. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.flush();
    this.#closed = true;
    await this.root.close();
  }
}

/** Digest of all that a request asks for; peers are a set, their order says nothing. */
export function digestOf(request: NodeRequest): string {
  return createHash('sha256')
    .update(JSON.stringify(wholeOf(request)))
    .digest('base64url');
}

/** What is asked besides the resource, which is in the operation id. */
function wholeOf(request: NodeRequest): unknown[] {
  switch (request.verb) {
    case 'create-region':
      return [request.verb, request.database, request.kind, [...request.peers].sort()];
    case 'delete-region':
    case 'release-resource':
      return [request.verb];
    case 'request-resource': {
      const properties = Object.entries(request.properties).sort(([a], [b]) => (a < b ? -1 : 1));
      return [request.verb, request.group, request.threads, request.memoryMb, properties];
    }
    case 'deploy-task-group': {
      const { verb, owner, source, transform, sink, parallelism, checkpointIntervalMs, restore } = request;
      return [verb, owner, source, transform, sink, parallelism, checkpointIntervalMs, restore];
    }
    case 'cancel-task-group':
      return [request.verb, request.savepoint];
    default:
      throw new Error(`unknown request ${JSON.stringify(request satisfies never)}`);
  }
}
