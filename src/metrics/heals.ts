import { Counter, Gauge } from 'prom-client';
import { SHAPES, type Shape } from '../rules/stuck.js';
import { RecentFacts } from './recent-facts.js';
import { registry } from './registry.js';

/** What a cycle over all tables found. */
export interface HealCycle {
  readonly shapes: readonly Shape[];
  readonly anomalies: number;
}

/** Three intervals of the schedule: by then another worker has had a turn. */
const CYCLE_KEPT_MS = 180_000;

const lastCycle = new RecentFacts<HealCycle>();

new Gauge({
  name: 'steward_stuck_processes',
  help: 'Optimizing processes that the last heal cycle on this worker found stuck, by shape; absent when it was more than 3 minutes ago',
  labelNames: ['shape'],
  registers: [registry],
  collect() {
    this.reset();
    for (const { shapes } of lastCycle.all()) {
      for (const shape of SHAPES) this.set({ shape }, shapes.filter((one) => one === shape).length);
    }
  },
});
new Gauge({
  name: 'steward_optimizing_anomalies',
  help: 'States that no heal mends, found by the last heal cycle on this worker; 0 when it was more than 3 minutes ago',
  registers: [registry],
  collect() {
    this.set(lastCycle.all().reduce((sum, { anomalies }) => sum + anomalies, 0));
  },
});
const detections = new Counter({
  name: 'steward_stuck_detections_total',
  help: 'Detections of stuck optimizing processes, by shape: one for each process and cycle',
  labelNames: ['shape'],
  registers: [registry],
});
const heals = new Counter({
  name: 'steward_heals_total',
  help: 'Heals of stuck optimizing processes, by shape and outcome (healed, gone, failed)',
  labelNames: ['shape', 'outcome'],
  registers: [registry],
});

// From the start on there is a 0 to count from: the first failure must not look like a counter that is new.
for (const shape of SHAPES) {
  for (const outcome of ['healed', 'gone', 'failed']) heals.inc({ shape, outcome }, 0);
}

export function countCycle(cycle: HealCycle): void {
  for (const shape of cycle.shapes) detections.inc({ shape });
  lastCycle.tell('last', cycle, CYCLE_KEPT_MS);
}

export function countHeal(shape: Shape, outcome: 'healed' | 'gone' | 'failed'): void {
  heals.inc({ shape, outcome });
}
