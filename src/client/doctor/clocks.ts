import { type Finding, warn } from './finding.js';

/** Clocks that differ by more than this are told of. Nothing breaks: leases and time-outs are measured by one clock each. */
const TOLERANCE_MS = 2_000;

/** When something was asked and answered, by the clock of this machine. */
export interface Clock {
  readonly askedAt: number;
  readonly answeredAt: number;
}

/** Undefined when a clock that was read somewhere between question and answer is right. */
export function examineClock(whose: string, read: Date, { askedAt, answeredAt }: Clock): Finding | undefined {
  const behindMs = askedAt - read.getTime();
  const aheadMs = read.getTime() - answeredAt;
  const offMs = Math.max(behindMs, aheadMs);
  if (offMs <= TOLERANCE_MS) return undefined;
  const direction = behindMs > 0 ? 'behind' : 'ahead of';
  return warn(
    'clocks',
    `the clock of ${whose} is ${(offMs / 1_000).toFixed(1)} s ${direction} the one here`,
    'synchronize both machines (chrony, systemd-timesyncd): times in logs and lists are misleading',
  );
}
