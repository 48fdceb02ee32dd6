import { heartbeat } from '@temporalio/activity';

const EVERY_MS = 2_000;

/** Heartbeats while the work goes on. For work whose every step has a deadline of its own. */
export async function heartbeating<T>(work: () => Promise<T>): Promise<T> {
  const timer = setInterval(() => heartbeat(), EVERY_MS);
  try {
    return await work();
  } finally {
    clearInterval(timer);
  }
}
