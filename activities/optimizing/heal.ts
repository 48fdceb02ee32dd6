import type { Catalog } from '../../src/catalog/catalog.js';
import { findNode } from '../../src/catalog/nodes.js';
import { type Breaker, moveBreaker, readBreaker } from '../../src/catalog/optimizing/breaker.js';
import { completeTask } from '../../src/catalog/optimizing/completion.js';
import type { TaskAttempt } from '../../src/catalog/optimizing/handing-out.js';
import { awaitsCommit, replanTask } from '../../src/catalog/optimizing/healing.js';
import { settleProcess } from '../../src/catalog/optimizing/settling.js';
import {
  countRunning,
  type FoundAnomaly,
  findAnomalies,
  findStuck,
  type StuckTask,
} from '../../src/catalog/optimizing/stuck.js';
import { NodeMismatch, NodeUnreachable } from '../../src/engines/nodes.js';
import type { OptimizerEngine, TaskAnswer } from '../../src/engines/optimizers.js';
import type { Logger } from '../../src/log.js';
import { countCycle, countHeal } from '../../src/metrics/heals.js';
import type { HealStuckCommitsInput } from '../../src/rules/optimizing-input.js';
import type { ProcessState, TableStatus } from '../../src/rules/optimizing-states.js';
import {
  type BreakerState,
  isOptimizing,
  judgeAnswer,
  judgeTask,
  runningToCount,
  type Shape,
  shapeOfProcess,
  type TaskVerdict,
} from '../../src/rules/stuck.js';
import type { ProcessRef } from '../../src/rules/words.js';
import { eachOf } from '../each-of.js';
import { heartbeating } from '../heartbeating.js';
import { holdWhilePaused } from '../pauses.js';

export interface HealDependencies {
  readonly catalog: Catalog;
  readonly catalogId: string;
  readonly optimizers: OptimizerEngine;
  /** Whether commitTable runs for this process. */
  readonly isCommitting: (commit: ProcessRef) => Promise<boolean>;
  /** Starts commitTable; false: it runs already. */
  readonly startCommit: (commit: ProcessRef, actor: string) => Promise<boolean>;
  readonly log: Logger;
}

/** A process that is stuck, in one shape. */
export interface Detection {
  readonly shape: Shape;
  readonly processId: number;
  readonly tableId: number;
  readonly table: string;
  readonly process: ProcessState;
  readonly status: TableStatus;
  /** S2 and S4: the tasks concerned. */
  readonly tasks?: readonly DetectedTask[];
}

export interface DetectedTask extends TaskAttempt {
  /** S4: why nobody works on it. */
  readonly reason?: string;
  /** S2: whose results the node keeps. */
  readonly resourceId?: string | undefined;
  readonly nodeId?: string | undefined;
}

export interface FoundStuck {
  /** The oldest processes first, at most {@link MAX_STUCK}. */
  readonly stuck: readonly Detection[];
  readonly total: number;
  readonly anomalies: readonly FoundAnomaly[];
  /** Nodes that did not answer for their optimizers; asked again in the next cycle. */
  readonly unanswered: readonly string[];
  readonly breaker: { readonly state: BreakerState; readonly reason: string };
}

export interface HealedProcess {
  readonly table: string;
  readonly processId: number;
  readonly shape: Shape;
  readonly outcome: HealOutcome;
}

/** FAILED: a task had failed for the last time. GONE: it was not so any more when it was looked at under its lock. */
export type HealOutcome = 'COMMITTING' | 'RECORDED' | 'REPLANNED' | 'FAILED' | 'GONE';

export interface UnhealedProcess {
  readonly table: string;
  readonly processId: number;
  readonly shape: Shape;
  readonly cause: string;
}

export interface Healed {
  readonly healed: readonly HealedProcess[];
  readonly failed: readonly UnhealedProcess[];
}

/** What one cycle heals: the rest is found again by the next one. */
export const MAX_STUCK = 1_000;
const MAX_ANOMALIES = 100;
/** Nodes asked, and processes healed, at a time. */
const AT_A_TIME = 5;
/** What is younger may only be on its way. */
const ANOMALY_GRACE_MS = 60_000;

export type HealActivities = ReturnType<typeof createHealActivities>;

/** The activities of healStuckCommits. Each may be repeated, and run beside itself. */
export function createHealActivities(dependencies: HealDependencies) {
  const { catalog, catalogId, optimizers, isCommitting, startCommit, log } = dependencies;
  return {
    /** Finds what is stuck, tells of each in a WARN, and moves the breaker on. */
    detectStuck: (input: HealStuckCommitsInput): Promise<FoundStuck> => heartbeating(() => detect(input)),

    /** Heals what was found, each verified again under its lock. What fails is told in a WARN and left to the next cycle. */
    healStuck: (stuck: readonly Detection[], input: HealStuckCommitsInput): Promise<Healed> =>
      heartbeating(async () => {
        await holdWhilePaused(catalog, 'the healing');
        return healAll(stuck, input);
      }),
  };

  async function detect(input: HealStuckCommitsInput): Promise<FoundStuck> {
    const { graces, table, mode } = input;
    const candidates = await findStuck(catalog, graces, table);
    const detections: Detection[] = [];
    for (const { processId, tableId, name, ...facts } of candidates.processes) {
      const shape = shapeOfProcess(facts, graces);
      if (shape === undefined) continue;
      if (shape === 'S3' && (await isCommitting({ tableId, table: name, processId }))) continue;
      const { process, table: status } = facts;
      detections.push({ shape, processId, tableId, table: name, process, status });
    }
    const unanswered = new Set<string>();
    const verdicts = await eachOf(candidates.tasks, AT_A_TIME, async (task) => {
      const verdict = await judge(task, input);
      if (verdict.kind === 'WAIT') unanswered.add(task.nodeId!);
      return { task, verdict };
    });
    detections.push(...detectionsOf(verdicts));
    detections.sort((a, b) => a.processId - b.processId);
    const anomalies = await findAnomalies(catalog, ANOMALY_GRACE_MS, table);
    const breaker = await judged(detections, input);
    tell(detections, anomalies, [...unanswered]);
    if (table === undefined) {
      const shapes = detections.map(({ shape }) => shape);
      countCycle({ shapes, anomalies: anomalies.length });
    }
    if (breaker.state === 'OPEN' && mode === 'repair' && detections.length > 0) {
      log.warn(
        { stuck: detections.length, reason: breaker.reason },
        'breaker open: nothing is healed until it is acknowledged',
      );
    }
    return {
      stuck: detections.slice(0, MAX_STUCK),
      total: detections.length,
      anomalies: anomalies.slice(0, MAX_ANOMALIES),
      unanswered: [...unanswered],
      breaker: { state: breaker.state, reason: breaker.reason },
    };
  }

  async function healAll(stuck: readonly Detection[], input: HealStuckCommitsInput): Promise<Healed> {
    const healed: HealedProcess[] = [];
    const failed: UnhealedProcess[] = [];
    await eachOf(stuck, AT_A_TIME, async (detection) => {
      const { table, processId, shape } = detection;
      const named = { table, process: processId, shape };
      try {
        const outcome = await heal(detection, input);
        healed.push({ table, processId, shape, outcome });
        countHeal(shape, outcome === 'GONE' ? 'gone' : 'healed');
        if (outcome !== 'GONE') log.info({ ...named, outcome }, 'stuck process healed');
      } catch (error) {
        const cause = error instanceof Error ? error.message : String(error);
        failed.push({ table, processId, shape, cause });
        countHeal(shape, 'failed');
        log.warn({ ...named, cause }, 'stuck process not healed; tried again in the next cycle');
      }
    });
    return { healed, failed };
  }

  async function judge(task: StuckTask, { graces }: HealStuckCommitsInput): Promise<TaskVerdict> {
    if (!isOptimizing(task.table)) return { kind: 'HEALTHY' };
    const verdict = judgeTask(task, graces);
    if (verdict.kind !== 'ASK') return verdict;
    const answer = await ask(task);
    return judgeAnswer(answer ?? { kind: 'UNREACHABLE', silentMs: task.nodeSilentMs }, graces);
  }

  /** Undefined: the node does not answer. */
  async function ask(task: DetectedTask): Promise<TaskAnswer | undefined> {
    const node = await findNode(catalog, task.nodeId ?? '');
    if (node === undefined || task.resourceId === undefined) return undefined;
    const resource = { catalogId, resourceId: task.resourceId };
    const taskId = `${task.processId}/${task.taskNo}`;
    try {
      return await optimizers.getTaskResult(node, { resource, taskId, attempt: task.attempt });
    } catch (error) {
      if (error instanceof NodeUnreachable || error instanceof NodeMismatch) return undefined;
      throw error;
    }
  }

  async function judged(
    detections: readonly Detection[],
    { table, mode }: HealStuckCommitsInput,
  ): Promise<Breaker> {
    const before = await readBreaker(catalog);
    // One table says nothing about a common cause, and who only looks changes nothing.
    if (table !== undefined || mode === 'observe') return before;
    const stuck = new Set(detections.map(({ processId }) => processId)).size;
    const running = await countRunning(catalog, runningToCount(stuck));
    const after = await moveBreaker(catalog, { stuck, running });
    if (after.state !== before.state)
      log.warn({ from: before.state, to: after.state, stuck, running }, 'breaker of the heals moved');
    return after;
  }

  function tell(
    detections: readonly Detection[],
    anomalies: readonly FoundAnomaly[],
    unanswered: readonly string[],
  ): void {
    for (const { table, processId, process, status, shape, tasks } of detections) {
      log.warn(
        {
          table,
          process: processId,
          state: process,
          status,
          shape,
          ...(tasks && { tasks: tasks.map(({ taskNo }) => taskNo) }),
        },
        'stuck process',
      );
    }
    for (const { kind, name, table: status, processId } of anomalies) {
      log.warn(
        { table: name, process: processId, status, anomaly: kind },
        'not as it should be, and nothing heals it',
      );
    }
    for (const node of unanswered)
      log.warn({ node }, 'node does not answer for the results of its optimizers');
  }

  async function heal(detection: Detection, input: HealStuckCommitsInput): Promise<HealOutcome> {
    const { shape, processId, tableId, table, tasks } = detection;
    switch (shape) {
      case 'S1':
        return settled(detection, input, 'GONE');
      case 'S2': {
        let recorded = 0;
        for (const task of tasks ?? []) if (await recover(task)) recorded += 1;
        if (recorded === 0) return 'GONE';
        return settled(detection, input, 'RECORDED');
      }
      case 'S3': {
        if (!(await awaitsCommit(catalog, processId, input.graces))) return 'GONE';
        await startCommit({ tableId, table, processId }, input.actor);
        return 'COMMITTING';
      }
      case 'S4': {
        // What FAILED is planned again by whoever counts it.
        if (tasks === undefined) return settled(detection, input, 'REPLANNED');
        let replanned = 0;
        for (const task of tasks) {
          const reason = task.reason ?? 'nobody works on it';
          if (await replanTask(catalog, task, input.graces, reason)) replanned += 1;
        }
        return replanned === 0 ? 'GONE' : 'REPLANNED';
      }
    }
  }

  /** S2: the result, as its node has it, goes the way that the optimizer's own call would have gone (T1). */
  async function recover(task: DetectedTask): Promise<boolean> {
    const answer = await ask(task);
    if (answer?.kind !== 'RESULT') return false;
    return (await completeTask(catalog, task.resourceId!, task, answer.outcome)) === 'RECORDED';
  }

  /** T2, which verifies everything again under its locks, and the commit that follows; `open` when tasks are. */
  async function settled(
    { processId, table }: Detection,
    { actor }: HealStuckCommitsInput,
    open: HealOutcome,
  ): Promise<HealOutcome> {
    const verdict = await settleProcess(catalog, processId);
    switch (verdict.kind) {
      case 'COMMITTING':
        await startCommit(verdict, actor);
        return 'COMMITTING';
      case 'FAILED':
        log.warn({ table, process: processId, reason: verdict.reason }, 'process failed');
        return 'FAILED';
      case 'OPEN':
        return open;
      case 'UNLIKE':
        throw new Error(verdict.reason);
      case 'OVER':
      case 'UNKNOWN':
        return 'GONE';
    }
  }
}

/** The tasks of a process that are stuck in the same shape are one detection. */
function detectionsOf(
  judgedTasks: readonly { readonly task: StuckTask; readonly verdict: TaskVerdict }[],
): Detection[] {
  const found = new Map<string, Detection & { readonly tasks: DetectedTask[] }>();
  for (const { task, verdict } of judgedTasks) {
    if (verdict.kind !== 'RECORD' && verdict.kind !== 'REPLAN') continue;
    const shape = verdict.kind === 'RECORD' ? 'S2' : 'S4';
    const { processId, taskNo, attempt, tableId, name, process, table: status } = task;
    const key = `${processId}/${shape}`;
    const detection = found.get(key) ?? {
      shape,
      processId,
      tableId,
      table: name,
      process,
      status,
      tasks: [],
    };
    found.set(key, detection);
    detection.tasks.push({
      processId,
      taskNo,
      attempt,
      ...(verdict.kind === 'REPLAN' ? { reason: verdict.reason } : {}),
      ...(shape === 'S2' && { nodeId: task.nodeId, resourceId: task.resourceId }),
    });
  }
  return [...found.values()];
}
