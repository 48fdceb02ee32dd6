import type { ProcessState, TableStatus, TaskState } from './optimizing-states.js';

/**
 * What is stuck before its commit, decided from values alone. The catalog's query finds candidates cheaply; these rules say
 * of each what it is, once when it is found and once more under the row lock before anything is changed.
 *
 * | shape | state found | heal |
 * | --- | --- | --- |
 * | S1 | every task SUCCESS, and nobody counted them | beginCommitting, then commitTable |
 * | S2 | a task ACKED although its optimizer has the result | record the result, then as S1 |
 * | S3 | COMMITTING, and no commitTable runs | start commitTable |
 * | S4 | a task that nobody works on, or that FAILED and nobody counted it | back to PLANNED |
 */
export const SHAPES = ['S1', 'S2', 'S3', 'S4'] as const;
export type Shape = (typeof SHAPES)[number];

/** What has been so for a shorter time is left alone. Milliseconds, by the catalog's clock. */
export interface Graces {
  /** SCHEDULED without AckTask. */
  readonly ackTimeoutMs: number;
  /** An outcome that nobody counted. */
  readonly settleGraceMs: number;
  /** ACKED without a result; also how long a node may be silent until it counts as lost. */
  readonly resultGraceMs: number;
  /** COMMITTING without a commitTable. */
  readonly commitGraceMs: number;
}

export const DEFAULT_GRACES: Graces = {
  ackTimeoutMs: 30_000,
  settleGraceMs: 10_000,
  resultGraceMs: 120_000,
  commitGraceMs: 10_000,
};

/** A process, its table and its tasks, as they stand together. */
export interface ProcessFacts {
  readonly process: ProcessState;
  readonly table: TableStatus;
  readonly tasks: number;
  readonly succeeded: number;
  /** Tasks that FAILED, and that nobody planned again. */
  readonly failed: number;
  /** Since the last outcome of a task was recorded. */
  readonly lastOutcomeMs: number;
  /** Since the table has its status. */
  readonly statusMs: number;
  /** beginCommitting happened. */
  readonly committing: boolean;
}

const OPTIMIZING: readonly TableStatus[] = ['MINOR_OPTIMIZING', 'MAJOR_OPTIMIZING', 'FULL_OPTIMIZING'];

/** Whether tasks of a table may be at work. */
export function isOptimizing(status: TableStatus): boolean {
  return OPTIMIZING.includes(status);
}

/** What a process is stuck in as a whole; a process that is over, or whose tasks are not, is none of this. */
export function shapeOfProcess(facts: ProcessFacts, graces: Graces): 'S1' | 'S3' | 'S4' | undefined {
  if (facts.process !== 'RUNNING') return undefined;
  if (facts.table === 'COMMITTING') return facts.statusMs >= graces.commitGraceMs ? 'S3' : undefined;
  if (!isOptimizing(facts.table) || facts.committing || facts.lastOutcomeMs < graces.settleGraceMs) {
    return undefined;
  }
  if (facts.failed > 0) return 'S4';
  return facts.tasks > 0 && facts.succeeded === facts.tasks ? 'S1' : undefined;
}

/** What no heal mends: a person has to look. */
export type Anomaly = 'PROCESS_WITHOUT_TASKS' | 'TABLE_WITHOUT_PROCESS';

/** A task that was handed out. */
export interface OutTask {
  readonly state: TaskState;
  /** Since it has its state. */
  readonly ageMs: number;
  /** The optimizer that has it is registered and its heartbeats come. */
  readonly optimizerAlive: boolean;
  /** The node whose disk has that optimizer's results; undefined: there is nobody to ask. */
  readonly nodeId: string | undefined;
}

/** What became of a task at the optimizer that has it, as far as its node tells. */
export type ResultAnswer =
  | { readonly kind: 'RESULT' }
  | { readonly kind: 'RUNNING' }
  | { readonly kind: 'NONE' }
  /** The node does not answer; `silentMs` since its last heartbeat, Infinity for one that is not known any more. */
  | { readonly kind: 'UNREACHABLE'; readonly silentMs: number };

export type TaskVerdict =
  | { readonly kind: 'HEALTHY' }
  /** S2 or not: the node has to be asked. */
  | { readonly kind: 'ASK' }
  /** S2: the result is there. */
  | { readonly kind: 'RECORD' }
  /** S4: nobody works on it and no result will come. */
  | { readonly kind: 'REPLAN'; readonly reason: string }
  /** The node may come back with a result: ask again in the next cycle. */
  | { readonly kind: 'WAIT' };

/** A task that was handed out, judged before its node was asked. */
export function judgeTask(task: OutTask, graces: Graces): TaskVerdict {
  if (task.state === 'SCHEDULED') {
    return task.ageMs >= graces.ackTimeoutMs
      ? { kind: 'REPLAN', reason: 'it was handed out and nobody began with it' }
      : { kind: 'HEALTHY' };
  }
  if (task.state !== 'ACKED' || task.ageMs < graces.resultGraceMs) return { kind: 'HEALTHY' };
  if (task.nodeId !== undefined) return { kind: 'ASK' };
  return task.optimizerAlive
    ? { kind: 'HEALTHY' }
    : { kind: 'REPLAN', reason: 'its optimizer is gone and has no node that keeps results' };
}

/**
 * A task past its grace, judged by what its node said. NONE is final whether or not the optimizer lives: a result leaves the
 * outbox only after it was recorded, and recording is refused once the attempt was raised.
 */
export function judgeAnswer(answer: ResultAnswer, graces: Graces): TaskVerdict {
  switch (answer.kind) {
    case 'RESULT':
      return { kind: 'RECORD' };
    case 'RUNNING':
      return { kind: 'HEALTHY' };
    case 'NONE':
      return { kind: 'REPLAN', reason: 'its node has no result and nobody works on it' };
    case 'UNREACHABLE':
      return answer.silentMs >= graces.resultGraceMs
        ? { kind: 'REPLAN', reason: 'its node is lost' }
        : { kind: 'WAIT' };
  }
}

/**
 * The breaker: when a large share of what runs is stuck at once, the cause is elsewhere, and mending by the dozen would
 * hide it. CLOSED heals. OPEN heals nothing until somebody acknowledges it, whatever the share is by then. ACKNOWLEDGED
 * heals, and is CLOSED (armed again) once the share has fallen.
 */
export type BreakerState = 'OPEN' | 'ACKNOWLEDGED' | 'CLOSED';

export interface BreakerLimits {
  /** Share of the running processes that may be stuck at once. */
  readonly share: number;
  /** With fewer running processes a share says nothing. */
  readonly leastRunning: number;
}

export const BREAKER_LIMITS: BreakerLimits = { share: 0.5, leastRunning: 10 };

export function judgeBreaker(
  state: BreakerState,
  { stuck, running }: { readonly stuck: number; readonly running: number },
  limits: BreakerLimits = BREAKER_LIMITS,
): BreakerState {
  const tripped = running >= limits.leastRunning && stuck > running * limits.share;
  switch (state) {
    case 'OPEN':
      return 'OPEN';
    case 'ACKNOWLEDGED':
      return tripped ? 'ACKNOWLEDGED' : 'CLOSED';
    case 'CLOSED':
      return tripped ? 'OPEN' : 'CLOSED';
  }
}

/** Running processes that have to be counted, at most, to judge so many stuck ones: more of them only close the breaker. */
export function runningToCount(stuck: number, limits: BreakerLimits = BREAKER_LIMITS): number {
  return Math.max(limits.leastRunning, Math.ceil(stuck / limits.share));
}
