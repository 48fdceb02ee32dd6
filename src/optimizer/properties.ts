import { z } from 'zod';

/** Moments of a task at which an optimizer can be made to hold, in their order. */
export const HOLD_POINTS = [
  /** The coordinator knows that it was begun; nothing is written. */
  'acked',
  /** The output is whole under its temporary name. */
  'merged',
  /** The output has its name; the outbox knows nothing of it. */
  'renamed',
  /** The result is in the outbox; the coordinator has not heard of it. */
  'recorded',
  /** The coordinator has answered; the result is still in the outbox, as if the answer was lost. */
  'completed',
] as const;
export type HoldPoint = (typeof HOLD_POINTS)[number];

const milliseconds = z
  .string()
  .regex(/^\d{1,9}$/, 'a number of milliseconds')
  .transform(Number)
  .default(0);

/**
 * Properties that make an optimizer slow, fail or hang: for tests, and for people who try things. It knows no others;
 * those of somebody else mean nothing to it.
 */
const Properties = z.object({
  /** Every merge takes this much longer. */
  'merge-delay-ms': milliseconds,
  /** Every merge fails with this message. */
  'merge-error': z.string().optional(),
  /** Every task stays at this point for ever. */
  'hold-at': z.enum(HOLD_POINTS).optional(),
  /** The process waits so long before it takes its place. */
  'start-delay-ms': milliseconds,
});

export interface Disturbance {
  readonly mergeDelayMs: number;
  readonly mergeError: string | undefined;
  readonly holdAt: HoldPoint | undefined;
  readonly startDelayMs: number;
}

/** Reads the properties; throws Error that names the one that makes no sense. */
export function readProperties(properties: Readonly<Record<string, string>>): Disturbance {
  const read = Properties.safeParse(properties);
  if (!read.success) {
    const issue = read.error.issues[0]!;
    throw new Error(`property ${issue.path.join('.')}: ${issue.message}`);
  }
  const {
    'merge-delay-ms': mergeDelayMs,
    'merge-error': mergeError,
    'hold-at': holdAt,
    'start-delay-ms': startDelayMs,
  } = read.data;
  return { mergeDelayMs, mergeError, holdAt, startDelayMs };
}
