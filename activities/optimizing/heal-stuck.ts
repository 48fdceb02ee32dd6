import type { Catalog } from '../../src/catalog/catalog.js';
import { completeTask } from '../../src/catalog/optimizing/completion.js';
import { awaitsCommit, replanTask } from '../../src/catalog/optimizing/healing.js';
import { settleProcess } from '../../src/catalog/optimizing/settling.js';
import type { OptimizerEngine } from '../../src/engines/optimizers.js';
import type { Logger } from '../../src/log.js';
import { messageOf } from '../../src/message-of.js';
import { countHeal } from '../../src/metrics/heals.js';
import type { HealStuckCommitsInput } from '../../src/rules/optimizing-input.js';
import type { Shape } from '../../src/rules/stuck.js';
import type { ProcessRef } from '../../src/rules/words.js';
import { eachOf } from '../each-of.js';
import type { DetectedTask, Detection } from './detect-stuck.js';
import { resultOnNode } from './result-on-node.js';

export interface HealingDependencies {
  readonly catalog: Catalog;
  readonly catalogId: string;
  readonly optimizers: OptimizerEngine;
  /** Starts commitTable; false: it runs already. */
  readonly startCommit: (commit: ProcessRef, actor: string) => Promise<boolean>;
  readonly log: Logger;
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

/** Processes healed at a time. */
const AT_A_TIME = 5;

/** Heals what was found, each verified again under its lock. What fails is told in a WARN and left to the next cycle. */
export async function healStuck(
  dependencies: HealingDependencies,
  stuck: readonly Detection[],
  input: HealStuckCommitsInput,
): Promise<Healed> {
  const { log } = dependencies;
  const healed: HealedProcess[] = [];
  const failed: UnhealedProcess[] = [];
  await eachOf(stuck, AT_A_TIME, async (detection) => {
    const { table, processId, shape } = detection;
    const named = { table, process: processId, shape };
    try {
      const outcome = await heal(dependencies, detection, input);
      healed.push({ table, processId, shape, outcome });
      countHeal(shape, outcome === 'GONE' ? 'gone' : 'healed');
      if (outcome !== 'GONE') log.info({ ...named, outcome }, 'stuck process healed');
    } catch (error) {
      const cause = messageOf(error);
      failed.push({ table, processId, shape, cause });
      countHeal(shape, 'failed');
      log.warn({ ...named, cause }, 'stuck process not healed; tried again in the next cycle');
    }
  });
  return { healed, failed };
}

async function heal(
  dependencies: HealingDependencies,
  detection: Detection,
  input: HealStuckCommitsInput,
): Promise<HealOutcome> {
  const { catalog, startCommit } = dependencies;
  const { shape, processId, tableId, table, tasks } = detection;
  switch (shape) {
    case 'S1':
      return settled(dependencies, detection, input, 'GONE');
    case 'S2': {
      let recorded = 0;
      for (const task of tasks ?? []) if (await recover(dependencies, task)) recorded += 1;
      if (recorded === 0) return 'GONE';
      return settled(dependencies, detection, input, 'RECORDED');
    }
    case 'S3': {
      if (!(await awaitsCommit(catalog, processId, input.graces))) return 'GONE';
      await startCommit({ tableId, table, processId }, input.actor);
      return 'COMMITTING';
    }
    case 'S4': {
      // What FAILED is planned again by whoever counts it.
      if (tasks === undefined) return settled(dependencies, detection, input, 'REPLANNED');
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
async function recover(dependencies: HealingDependencies, task: DetectedTask): Promise<boolean> {
  const answer = await resultOnNode(dependencies, task);
  if (answer?.kind !== 'RESULT') return false;
  return (await completeTask(dependencies.catalog, task.resourceId!, task, answer.outcome)) === 'RECORDED';
}

/** T2, which verifies everything again under its locks, and the commit that follows; `open` when tasks are. */
async function settled(
  { catalog, startCommit, log }: HealingDependencies,
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
