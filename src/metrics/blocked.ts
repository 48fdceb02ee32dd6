import { Gauge } from 'prom-client';
import { RecentFacts } from './recent-facts.js';
import { registry } from './registry.js';

/** An activity of an operation that waits for something which does not come by itself (I8). */
export interface BlockedActivity {
  readonly type: string;
  /** The node that it is about; empty for one that is about several or none. */
  readonly node: string;
  /** Since when it has been blocked at every attempt. */
  readonly sinceMs: number;
}

/** An attempt may come a little later than it is due. */
const LATE_MS = 15_000;

const blocked = new RecentFacts<BlockedActivity>();

new Gauge({
  name: 'steward_operations_blocked',
  help: 'Activities of operations that are blocked, by the type of the operation and the node concerned, as this worker saw at their last attempt',
  labelNames: ['type', 'node'],
  registers: [registry],
  collect() {
    this.reset();
    for (const { type, node } of blocked.all()) this.inc({ type, node });
  },
});
new Gauge({
  name: 'steward_operation_blocked_since_timestamp_seconds',
  help: 'Since when the longest blocked of them has been so, in seconds since 1970',
  labelNames: ['type', 'node'],
  registers: [registry],
  collect() {
    this.reset();
    const latestFirst = blocked.all().sort((a, b) => b.sinceMs - a.sinceMs);
    for (const { type, node, sinceMs } of latestFirst) this.set({ type, node }, sinceMs / 1000);
  },
});

/** `key` names the activity. It is forgotten when it is not told again about when its next attempt is due. */
export function noteBlocked(key: string, activity: BlockedActivity, nextAttemptMs: number): void {
  blocked.tell(key, activity, nextAttemptMs + LATE_MS);
}

export function noteUnblocked(key: string): void {
  blocked.forget(key);
}
