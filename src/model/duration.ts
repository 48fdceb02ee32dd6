import { MAX_DURATION_MS } from '../rules/bounds.js';

const UNITS = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1_000, ms: 1 } as const;

/** Milliseconds, both included. */
export interface DurationBounds {
  readonly leastMs?: number;
  readonly mostMs?: number;
}

/**
 * Whole milliseconds of a duration such as `500ms`, `20s`, `1.5m`, `2h` or `1d`; undefined for anything else, and for what is
 * out of bounds: without others, 0 to a year.
 */
export function parseDuration(
  text: string,
  { leastMs = 0, mostMs = MAX_DURATION_MS }: DurationBounds = {},
): number | undefined {
  const match = /^(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h|d)$/.exec(text);
  if (match === null) return undefined;
  const ms = Math.round(Number(match[1]) * UNITS[match[2] as keyof typeof UNITS]);
  return ms >= leastMs && ms <= mostMs ? ms : undefined;
}

/** What `parseDuration` takes, for people: `a duration from 10ms to 1d, such as ...`. */
export function describeDuration({ leastMs, mostMs }: DurationBounds = {}): string {
  const bounds = [
    leastMs === undefined ? '' : ` from ${writeDuration(leastMs)}`,
    mostMs === undefined ? '' : ` to ${writeDuration(mostMs)}`,
  ];
  return `a duration${bounds.join('')}, such as 500ms, 20s, 5m or 2h`;
}

/** The duration in its largest whole unit, so that `parseDuration` reads it as it was. */
export function writeDuration(ms: number): string {
  const [unit, size] = Object.entries(UNITS).find(([, one]) => ms > 0 && ms % one === 0) ?? ['s', UNITS.s];
  return `${ms / size}${unit}`;
}
