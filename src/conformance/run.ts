import { Code, ConnectError } from '@connectrpc/connect';
import { messageOf } from '../message-of.js';
import { type Check, RESTART } from './check.js';
import { codeText, type NodeUnderTest, Probe } from './probe.js';
import { CHECKS } from './registry.js';
import { type CheckReport, type ConformanceReport, summarize } from './report.js';
import { Restarts, restartNode } from './restarts.js';
import { askNodeInfo, connect, type Target } from './target.js';
import { Violation } from './violation.js';

export interface ConformanceOptions {
  readonly target: Target;
  /** Default: all. */
  readonly checks?: readonly Check[];
  /** Checks that are expected to fail: one of these that passes is an error. */
  readonly knownFailing?: readonly Check[];
  /**
   * Kills the node as SIGKILL does and starts it again on the same data and address; resolves when it was started. Checks
   * that need a restart are skipped without it.
   */
  readonly restart?: () => Promise<void>;
  /** A check that takes longer has failed, in milliseconds. Default: 5 minutes. */
  readonly checkDeadlineMs?: number;
  /** Called for each check that is over, in the order in which they end. */
  readonly onCheck?: (report: CheckReport) => void;
}

/** Checks that run at a time. */
const WIDTH = 8;
const CHECK_DEADLINE_MS = 300_000;

/**
 * Checks a node against the worker contract, from outside, with nothing but its address. Leaves the regions of the node as
 * they were. Throws TargetError when there is no node.
 */
export async function checkConformance(options: ConformanceOptions): Promise<ConformanceReport> {
  const { target, checks = CHECKS, knownFailing = [], restart, onCheck } = options;
  const { checkDeadlineMs = CHECK_DEADLINE_MS } = options;
  const began = performance.now();
  const { nodeId, ledgerId, capabilities } = await askNodeInfo(target);
  const node: NodeUnderTest = { target, nodeId, ledgerId, capabilities };
  const restarts = new Restarts(async (alongside) => {
    if (restart === undefined) throw new Error('nobody said how to restart the node');
    await restartNode(target, restart, alongside);
  });
  const reports = new Map<Check, CheckReport>();
  const catalogs: string[] = [];
  const carryOut = async (check: Check): Promise<void> => {
    const probe = new Probe(node, (alongside) => restarts.wanted(alongside));
    catalogs.push(probe.catalogId);
    const report = await carryOutWith(probe, check, {
      isKnownFailing: knownFailing.includes(check),
      deadlineMs: checkDeadlineMs,
      hasEnded: () => {
        if (check.needs.includes(RESTART)) restarts.leave();
      },
    });
    reports.set(check, report);
    onCheck?.(report);
  };

  const ready: Check[] = [];
  for (const check of checks) {
    const missing = whatIsMissing(check, node, restart !== undefined);
    if (missing === undefined) ready.push(check);
    else {
      const report = { ...about(check, knownFailing.includes(check)), skippedBecause: missing };
      reports.set(check, { ...report, outcome: 'SKIPPED', durationMs: 0 });
      onCheck?.(reports.get(check)!);
    }
  }
  const steady = ready.filter(({ needs }) => !needs.includes(RESTART));
  const restarting = ready.filter(({ needs }) => needs.includes(RESTART));
  await inParallel(steady, carryOut);
  for (const _check of restarting) restarts.join();
  await Promise.all(restarting.map(carryOut));
  await clearOwnFaults(node, catalogs);

  return summarize(
    {
      target: target.url,
      node: { nodeId, ledgerId, capabilities: [...capabilities] },
      durationMs: Math.round(performance.now() - began),
    },
    checks.map((check) => reports.get(check)!),
  );
}

function whatIsMissing(
  { needs }: Check,
  { capabilities }: NodeUnderTest,
  canRestart: boolean,
): string | undefined {
  const lacking = needs.filter((need) => need !== RESTART && !capabilities.includes(need));
  const reasons = [
    ...(lacking.length === 0 ? [] : [`the node does not have the capability ${lacking.join(', ')}`]),
    ...(needs.includes(RESTART) && !canRestart ? ['the kit was not told how to restart the node'] : []),
  ];
  return reasons.length === 0 ? undefined : reasons.join('; ');
}

interface CarryingOut {
  readonly isKnownFailing: boolean;
  readonly deadlineMs: number;
  readonly hasEnded: () => void;
}

async function carryOutWith(
  probe: Probe,
  check: Check,
  { isKnownFailing, deadlineMs, hasEnded }: CarryingOut,
): Promise<CheckReport> {
  const began = performance.now();
  let failure: CheckReport['failure'];
  try {
    await within(deadlineMs, 'the check', check.run(probe));
  } catch (error) {
    failure = failureOf(error, probe);
  }
  const left = await within(deadlineMs, 'its clean-up', probe.cleanUp()).catch((error: Error) => [
    `${probe.catalogId}: ${error.message}`,
  ]);
  probe.close();
  // Not before: the next restart would get in the way of the clean-up.
  hasEnded();
  return {
    ...about(check, isKnownFailing),
    outcome: failure === undefined ? 'PASSED' : 'FAILED',
    durationMs: Math.round(performance.now() - began),
    ...(failure !== undefined && { failure }),
    ...(left.length > 0 && { leftBehind: left }),
  };
}

/** What is still under way after the deadline is left to itself: its connections are closed next. */
async function within<T>(deadlineMs: number, what: string, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const violation = new Violation(`${what} to end within ${deadlineMs / 1_000} s`, 'it goes on');
    timer = setTimeout(() => reject(violation), deadlineMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

function about({ name, group, rule, needs }: Check, knownFailing: boolean) {
  return { name, group, rule, needs: [...needs], knownFailing };
}

function failureOf(error: unknown, probe: Probe): NonNullable<CheckReport['failure']> {
  if (error instanceof Violation) {
    const { expected, found, evidence } = error;
    return { expected, found, ...probe.transcript.tell(evidence) };
  }
  if (error instanceof ConnectError) {
    const found = `${codeText(error.code)}: ${error.rawMessage}`;
    const expected = error.code === Code.DeadlineExceeded ? 'an answer in time' : 'the call to be answered';
    return { expected, found, ...probe.transcript.tell(error) };
  }
  const found = messageOf(error);
  return { expected: 'the check to come to its end', found, ...probe.transcript.tell(undefined) };
}

async function inParallel(
  checks: readonly Check[],
  carryOut: (check: Check) => Promise<void>,
): Promise<void> {
  const waiting = [...checks];
  const work = async (): Promise<void> => {
    for (let check = waiting.shift(); check !== undefined; check = waiting.shift()) await carryOut(check);
  };
  await Promise.all(Array.from({ length: WIDTH }, work));
}

/** Faults of a check that failed may be left; those that somebody else had set are not touched. */
async function clearOwnFaults(
  { target, capabilities }: NodeUnderTest,
  catalogs: readonly string[],
): Promise<void> {
  if (!capabilities.includes('faults')) return;
  const connection = connect(target);
  try {
    const { faults } = await connection.faults.listFaults({});
    const isOurs = (match: string): boolean => catalogs.some((catalogId) => match.includes(catalogId));
    if (faults.length > 0 && faults.every(({ match }) => isOurs(match))) {
      await connection.faults.clearFaults({});
    }
  } catch {
    // What is left strikes operations that nobody submits again.
  } finally {
    connection.close();
  }
}
