import { Counter, Gauge } from 'prom-client';
import type { GroupSettings, KeeperState } from '../rules/keeping.js';
import { RecentFacts } from './recent-facts.js';
import { registry } from './registry.js';

interface Orphan {
  readonly group: string;
  readonly resource: string;
  readonly attemptsLeft: number;
}

/** Three cycles of a keeper: by then another worker has had a turn. */
const CYCLE_KEPT_MS = 90_000;

const cycles = new RecentFacts<readonly Orphan[]>();

new Gauge({
  name: 'steward_orphan_attempts_left',
  help: 'Restarts that are left of an orphan before it is given up, as of the last cycle of its keeper on this worker; 0: its last restart was made',
  labelNames: ['group', 'resource'],
  registers: [registry],
  collect() {
    this.reset();
    for (const { group, resource, attemptsLeft } of cycles.all().flat()) {
      this.set({ group, resource }, attemptsLeft);
    }
  },
});
const restarts = new Counter({
  name: 'steward_optimizer_restarts_total',
  help: 'Restarts of optimizers that a keeper made, by group',
  labelNames: ['group'],
  registers: [registry],
});
const givenUp = new Counter({
  name: 'steward_optimizers_given_up_total',
  help: 'Optimizers that a keeper gave up after their last restart, by group',
  labelNames: ['group'],
  registers: [registry],
});
const requests = new Counter({
  name: 'steward_optimizer_requests_total',
  help: 'New optimizers that a keeper requested to reach the minimum of its group, by group',
  labelNames: ['group'],
  registers: [registry],
});

export function countRestart(group: string): void {
  restarts.inc({ group });
}

export function countGivenUp(group: string): void {
  givenUp.inc({ group });
}

export function countRequest(group: string): void {
  requests.inc({ group });
}

/** What a cycle of a keeper left: orphans that it restarts, and whose optimizer has not come back. */
export function noteOrphans(
  group: string,
  { orphans }: KeeperState,
  { autoRestart, maxRetries }: Pick<GroupSettings, 'autoRestart' | 'maxRetries'>,
): void {
  const left = Object.entries(orphans).flatMap(([resource, { attempts, toldOptOut, lives }]) =>
    !autoRestart || toldOptOut !== undefined || lives === true
      ? []
      : [{ group, resource, attemptsLeft: Math.max(0, maxRetries - attempts) }],
  );
  cycles.tell(group, left, CYCLE_KEPT_MS);
}
