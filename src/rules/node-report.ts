import { counted } from './counted.js';

/** What one pass over a holder's open operations on a node found. Pure: the reconciling activity fills it in. */
export interface NodeReport {
  readonly nodeId: string;
  /** What is being done, in the singular: `deletion`. */
  readonly verb: string;
  /** Operations that ended as the holder wants in this pass. */
  readonly settled: number;
  readonly open: readonly OpenOperation[];
  /** Not submitted, because the holder is paused; `reason` says by whom and why. */
  readonly paused?: { readonly operations: number; readonly reason: string };
  /** Why the node as a whole could not be asked. */
  readonly unasked?: { readonly operations: number; readonly reason: string; readonly retryAfterMs: number };
}

export type OpenOperation =
  | { readonly kind: 'PROCESSING'; readonly ageMs: number; readonly done: number; readonly total: number }
  /** FAIL was seen; the next attempt is due after `waitMs`. */
  | {
      readonly kind: 'FAILING';
      readonly region: number;
      readonly attempt: number;
      readonly error: string;
      readonly waitMs: number;
    }
  /** Not accepted by the node. */
  | { readonly kind: 'REFUSED'; readonly region: number; readonly reason: string; readonly waitMs: number };

/** How many operations have not ended. */
export function openOperations({ open, paused, unasked }: NodeReport): number {
  return open.length + (paused?.operations ?? 0) + (unasked?.operations ?? 0);
}

/** What the pending activity shows: what is open, and what blocks (I8). PROCESSING is no blocker. */
export function describeReport(report: NodeReport): string {
  const open = openOperations(report);
  const parts: string[] = [];
  const processing = report.open.filter((one) => one.kind === 'PROCESSING');
  if (processing.length > 0) {
    const done = sum(processing.map((one) => one.done));
    const total = sum(processing.map((one) => one.total));
    parts.push(`${processing.length} processing${total > 0 ? ` (${done} of ${total} steps)` : ''}`);
  }
  const blockers = blockersOf(report);
  if (blockers.length > 0) parts.push(`BLOCKED: ${blockers.join('; ')}`);
  return `${report.nodeId}: ${counted(open, report.verb)} open: ${parts.join(', ')}`;
}

/** What keeps the operations from ending, each named once with how many it keeps. */
export function blockersOf(report: NodeReport): string[] {
  const blockers: string[] = [];
  if (report.paused !== undefined) {
    const { operations, reason } = report.paused;
    blockers.push(operations === 0 ? reason : `${reason} (${operations} not submitted)`);
  }
  if (report.unasked !== undefined) blockers.push(report.unasked.reason);
  const failing = report.open.filter((one) => one.kind === 'FAILING');
  if (failing.length > 0) {
    const worst = failing.reduce((a, b) => (b.attempt > a.attempt ? b : a));
    blockers.push(
      `${failing.length} failing, region ${worst.region} after ${worst.attempt} attempts: ${worst.error}`,
    );
  }
  const refused = report.open.filter((one) => one.kind === 'REFUSED');
  if (refused.length > 0)
    blockers.push(`${refused.length} refused, region ${refused[0]!.region}: ${refused[0]!.reason}`);
  return blockers;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
