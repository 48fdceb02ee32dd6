import { heartbeat } from '@temporalio/activity';

/** A fraction of the shortest heartbeat time-out (workflows/activity-options.ts). */
const EVERY_MS = 1_000;

/** Heartbeats while the work goes on. For work that ends by itself, or by the activity's time-out. */
export async function heartbeating<T>(work: () => Promise<T>): Promise<T> {
  const timer = setInterval(() => heartbeat(), EVERY_MS);
  try {
    return await work();
  } finally {
    clearInterval(timer);
  }
}
