import type { Catalog } from '../../src/catalog/catalog.js';
import { type Breaker, moveBreaker, readBreaker } from '../../src/catalog/optimizing/breaker.js';
import type { TaskAttempt } from '../../src/catalog/optimizing/handing-out.js';
import {
  countRunning,
  type FoundAnomaly,
  findAnomalies,
  findStuck,
  type StuckProcess,
  type StuckTask,
} from '../../src/catalog/optimizing/stuck.js';
import type { OptimizerEngine } from '../../src/engines/optimizers.js';
import type { Logger } from '../../src/log.js';
import { countCycle } from '../../src/metrics/heals.js';
import type { HealStuckCommitsInput } from '../../src/rules/optimizing-input.js';
import type { ProcessState, TableStatus } from '../../src/rules/optimizing-states.js';
import {
  type BreakerState,
  type Graces,
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
import { resultOnNode } from './result-on-node.js';

export interface DetectionDependencies {
  readonly catalog: Catalog;
  readonly catalogId: string;
  readonly optimizers: OptimizerEngine;
  /** Whether commitTable runs for this process. */
  readonly isCommitting: (commit: ProcessRef) => Promise<boolean>;
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

/** What one cycle heals: the rest is found again by the next one. */
const MAX_STUCK = 1_000;
const MAX_ANOMALIES = 100;
/** Nodes asked at a time. */
const AT_A_TIME = 5;
/** What is younger may only be on its way. */
const ANOMALY_GRACE_MS = 60_000;

/** Finds what is stuck, tells of each in a WARN, and moves the breaker on. Changes nothing else; it may be repeated. */
export async function detectStuck(
  dependencies: DetectionDependencies,
  input: HealStuckCommitsInput,
): Promise<FoundStuck> {
  const { catalog, log } = dependencies;
  const { graces, table, mode } = input;
  const candidates = await findStuck(catalog, graces, table);
  const processes = await stuckAsAWhole(dependencies, candidates.processes, graces);
  const { detections: inTasks, unanswered } = await stuckInTasks(dependencies, candidates.tasks, graces);
  const detections = [...processes, ...inTasks].sort((a, b) => a.processId - b.processId);
  const anomalies = await findAnomalies(catalog, ANOMALY_GRACE_MS, table);
  const breaker = await moved(dependencies, detections, input);
  tell(log, detections, anomalies, unanswered);
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
    unanswered,
    breaker: { state: breaker.state, reason: breaker.reason },
  };
}

/** S1, S3, and S4 of what FAILED. */
async function stuckAsAWhole(
  { isCommitting }: DetectionDependencies,
  candidates: readonly StuckProcess[],
  graces: Graces,
): Promise<Detection[]> {
  const detections: Detection[] = [];
  for (const { processId, tableId, name, ...facts } of candidates) {
    const shape = shapeOfProcess(facts, graces);
    if (shape === undefined) continue;
    if (shape === 'S3' && (await isCommitting({ tableId, table: name, processId }))) continue;
    const { process, table: status } = facts;
    detections.push({ shape, processId, tableId, table: name, process, status });
  }
  return detections;
}

/** S2, and S4 of what was handed out; with the nodes that did not answer. */
async function stuckInTasks(
  dependencies: DetectionDependencies,
  candidates: readonly StuckTask[],
  graces: Graces,
): Promise<{ readonly detections: readonly Detection[]; readonly unanswered: readonly string[] }> {
  const unanswered = new Set<string>();
  const verdicts = await eachOf(candidates, AT_A_TIME, async (task) => {
    const verdict = await judge(dependencies, task, graces);
    if (verdict.kind === 'WAIT') unanswered.add(task.nodeId!);
    return { task, verdict };
  });
  return { detections: detectionsOf(verdicts), unanswered: [...unanswered] };
}

async function judge(
  dependencies: DetectionDependencies,
  task: StuckTask,
  graces: Graces,
): Promise<TaskVerdict> {
  if (!isOptimizing(task.table)) return { kind: 'HEALTHY' };
  const verdict = judgeTask(task, graces);
  if (verdict.kind !== 'ASK') return verdict;
  const answer = await resultOnNode(dependencies, task);
  return judgeAnswer(answer ?? { kind: 'UNREACHABLE', silentMs: task.nodeSilentMs }, graces);
}

/** The breaker, after what was found. */
async function moved(
  { catalog, log }: DetectionDependencies,
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
  log: Logger,
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
  for (const node of unanswered) log.warn({ node }, 'node does not answer for the results of its optimizers');
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
