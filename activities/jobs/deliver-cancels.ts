import type { Catalog } from '../../src/catalog/catalog.js';
import { type CancelNews, type OwedCancel, recordCancel } from '../../src/catalog/jobs/cancels.js';
import type { JobEngine } from '../../src/engines/jobs.js';
import { type EngineNode, isUnanswered } from '../../src/engines/nodes.js';
import type { Logger } from '../../src/log.js';
import {
  type CancelVerdict,
  cancelOperation,
  verdictOfAnswer,
  verdictOfSilence,
  verdictUnasked,
} from './owed-cancels.js';
import type { OpenWork } from './pass-report.js';
import { submitTaskGroups } from './task-group-operation.js';

export interface DeliveryDependencies {
  readonly catalog: Catalog;
  readonly catalogId: string;
  readonly engine: JobEngine;
  readonly log: Logger;
}

/** Between a cancel that failed and the next look at it. */
const AGAIN_MS = 200;

/**
 * Asks a node, once, to end what it is owed to be told, and records what comes of it. Answers how much of that the job waits
 * for: what is lost, or has been owed for longer than `patienceMs`, is given up, and stays owed. Blockers go to `work`.
 */
export async function deliverCancels(
  { catalog, catalogId, engine, log }: DeliveryDependencies,
  node: EngineNode,
  debts: readonly OwedCancel[],
  patienceMs: number,
  work: OpenWork,
): Promise<number> {
  let open = 0;
  const due: OwedCancel[] = [];
  for (const one of debts) {
    const verdict = verdictUnasked(one);
    if (verdict === undefined) due.push(one);
    else open += await carryOut(one, verdict);
  }
  const verdicts = await ask(due);
  for (const [at, one] of due.entries()) open += await carryOut(one, verdicts[at]!);
  return open;

  async function ask(asked: readonly OwedCancel[]): Promise<CancelVerdict[]> {
    try {
      const operations = asked.map((one) => cancelOperation(catalogId, one));
      const statuses = await submitTaskGroups(engine, node, operations);
      return asked.map((one, at) => verdictOfAnswer(one, statuses[at]!));
    } catch (error) {
      if (!isUnanswered(error)) throw error;
      return asked.map((one) => verdictOfSilence(one, error));
    }
  }

  /** Records what was found; answers 1 when the job waits for this cancel, and 0 when it goes on without. */
  async function carryOut(one: OwedCancel, verdict: CancelVerdict): Promise<0 | 1> {
    switch (verdict.kind) {
      case 'OVER':
        await tell(one, verdict);
        return 0;
      case 'AGAIN':
        await tell(one, verdict);
        work.again(AGAIN_MS, `${one.node.nodeId} fails to cancel: ${verdict.error}`);
        return 1;
      case 'WAIT':
        work.again(verdict.delayMs, verdict.blocker);
        if (one.ageMs <= patienceMs) return 1;
        await giveUp(one, verdict.why);
        return 0;
      case 'GIVE_UP':
        await giveUp(one, verdict.why);
        return 0;
    }
  }

  /** Told once: the debt stays, and is delivered whenever the node answers. */
  async function giveUp(one: OwedCancel, error: string): Promise<void> {
    if (!one.givenUp) await tell(one, { kind: 'GIVEN_UP', error });
  }

  function tell(one: OwedCancel, news: CancelNews): Promise<void> {
    return recordCancel(catalog, one, news, log);
  }
}
