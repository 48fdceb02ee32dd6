import type { PlacedTaskGroup, TaskGroupNews } from '../../src/catalog/jobs/task-groups.js';
import type { TaskGroupOnNode } from '../../src/engines/jobs.js';
import {
  NodeIncapable,
  type NodeMismatch,
  NodeUnreachable,
  type OperationStatus,
} from '../../src/engines/nodes.js';
import { LATEST_MS, pollDelayMs } from '../../src/rules/pace.js';

/** What is made of a placed task group: of its node's answer, or of the want of one. */
export type TaskGroupVerdict =
  | { readonly kind: 'NEWS'; readonly news: TaskGroupNews }
  /** It runs on, with or without news of it. */
  | { readonly kind: 'RUNS'; readonly news?: TaskGroupNews }
  /** It is not settled: looked at again after the delay. */
  | { readonly kind: 'WAIT'; readonly blocker?: string; readonly delayMs: number };

type Lost = Extract<TaskGroupNews, { readonly kind: 'LOST' }>;

/** The disk that it was placed on is gone, and all that ran there with it. */
export function diskGone(one: PlacedTaskGroup): Lost {
  return lost(one, `${one.node.nodeId} came back with another ledger`, { owed: false });
}

/** Of the answer to its deployment. */
export function verdictOfDeployment(
  one: PlacedTaskGroup,
  status: OperationStatus,
  execution: number,
): TaskGroupVerdict {
  const { nodeId } = one.node;
  switch (status.state) {
    case 'SUCCESS':
      return { kind: 'NEWS', news: { ...at(one), kind: 'STARTED' } };
    case 'FAIL': {
      const owed = status.code === 'ALREADY_EXISTS';
      return { kind: 'NEWS', news: lost(one, `not started: ${status.code}: ${status.message}`, { owed }) };
    }
    case 'PROCESSING':
      return { kind: 'WAIT', delayMs: pollDelayMs(status.ageMs) };
    case 'TASK_NOT_EXIST':
      return { kind: 'WAIT', delayMs: pollDelayMs(0) };
    case 'REFUSED':
      if (status.code === 'RESOURCE_EXHAUSTED') {
        const blocker = `${nodeId} is busy: ${status.message}`;
        return { kind: 'WAIT', blocker, delayMs: status.retryAfterMs ?? LATEST_MS };
      }
      if (status.code === 'STALE_EPOCH') {
        const blocker = `CATALOG_BEHIND: ${nodeId} accepted epoch ${status.highestEpoch}, the job is at ${execution}`;
        return { kind: 'WAIT', blocker, delayMs: LATEST_MS };
      }
      return {
        kind: 'NEWS',
        news: lost(one, `${nodeId} refused: ${status.code}: ${status.message}`, { owed: false }),
      };
  }
}

/** Of what its node says that it runs: progress, an end, or that it is not executed any more, or makes no progress (zombies). */
export function verdictOfInventory(
  one: PlacedTaskGroup,
  listed: readonly TaskGroupOnNode[],
  { execution, progressTimeoutMs }: { readonly execution: number; readonly progressTimeoutMs: number },
): TaskGroupVerdict {
  const found = listed.find(
    ({ pipeline, taskGroup }) => pipeline === one.pipeline && taskGroup === one.taskGroup,
  );
  if (found?.execution !== execution) {
    const error = `RUNNING in the catalog, but ${one.node.nodeId} does not execute it`;
    return { kind: 'NEWS', news: lost(one, error, { owed: true }) };
  }
  const { state, rowsIn, rowsOut, idleMs, error } = found;
  if (state !== 'RUNNING') {
    return {
      kind: 'NEWS',
      news: { ...at(one), kind: 'ENDED', state, rowsIn, rowsOut, ...(error && { error }) },
    };
  }
  if (idleMs > progressTimeoutMs) {
    const zombie = `active, but no progress for ${Math.round(idleMs)} ms (progressTimeout ${progressTimeoutMs} ms)`;
    return { kind: 'RUNS', news: lost(one, zombie, { owed: true }) };
  }
  if (rowsIn <= one.rowsIn && rowsOut <= one.rowsOut) return { kind: 'RUNS' };
  return { kind: 'RUNS', news: { ...at(one), kind: 'PROGRESS', rowsIn, rowsOut } };
}

/** Of a call that failed. A node that does not answer and has no heartbeat either is lost; one that lives is waited for. */
export function verdictOfSilence(
  one: PlacedTaskGroup,
  error: NodeIncapable | NodeUnreachable | NodeMismatch,
): TaskGroupVerdict {
  const { message } = error;
  if (error instanceof NodeIncapable) return { kind: 'NEWS', news: lost(one, message, { owed: true }) };
  if (one.nodeAlive) {
    const delayMs = error instanceof NodeUnreachable ? error.retryAfterMs : LATEST_MS;
    return { kind: 'WAIT', blocker: message, delayMs };
  }
  const reason = `${one.node.nodeId} is lost: no heartbeat, and ${message}`;
  return { kind: 'NEWS', news: lost(one, reason, { owed: true }) };
}

/**
 * Waited for, unless it is a deployment that has been open for longer than the progress time-out. Judged after its node was
 * asked, so that the time in which nobody asked condemns nothing.
 */
export function withinPatience(
  one: PlacedTaskGroup,
  verdict: TaskGroupVerdict,
  progressTimeoutMs: number,
): TaskGroupVerdict {
  if (verdict.kind !== 'WAIT' || one.state !== 'DEPLOYING' || one.ageMs <= progressTimeoutMs) return verdict;
  const { blocker } = verdict;
  const error = `not started within ${progressTimeoutMs} ms${blocker === undefined ? '' : `: ${blocker}`}`;
  return { kind: 'NEWS', news: lost(one, error, { owed: true }) };
}

function lost(one: PlacedTaskGroup, error: string, { owed }: { readonly owed: boolean }): Lost {
  return { ...at(one), kind: 'LOST', error, owed };
}

function at({ pipeline, taskGroup }: PlacedTaskGroup): Pick<PlacedTaskGroup, 'pipeline' | 'taskGroup'> {
  return { pipeline, taskGroup };
}
