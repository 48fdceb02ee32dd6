import { Counter, Gauge } from 'prom-client';
import type { BreakerState, Shape } from '../rules/stuck.js';
import { SHAPES } from '../rules/stuck.js';
import { registry } from './registry.js';

const stuck = new Gauge({
  name: 'steward_stuck_processes',
  help: 'Optimizing processes that the last cycle of this worker found stuck, by shape',
  labelNames: ['shape'],
  registers: [registry],
});
const detections = new Counter({
  name: 'steward_stuck_detections_total',
  help: 'Detections of stuck optimizing processes, by shape',
  labelNames: ['shape'],
  registers: [registry],
});
const heals = new Counter({
  name: 'steward_heals_total',
  help: 'Heals of stuck optimizing processes, by shape and outcome (healed, gone, failed)',
  labelNames: ['shape', 'outcome'],
  registers: [registry],
});
const breakerOpen = new Gauge({
  name: 'steward_heal_breaker_open',
  help: '1 while the breaker keeps heals from acting, until it is acknowledged',
  registers: [registry],
});
const anomalies = new Gauge({
  name: 'steward_optimizing_anomalies',
  help: 'States that no heal mends, found by the last cycle of this worker',
  registers: [registry],
});

/** What a cycle over all tables found. */
export function countCycle(found: {
  readonly shapes: readonly Shape[];
  readonly anomalies: number;
  readonly breaker: BreakerState;
}): void {
  for (const shape of SHAPES) {
    const count = found.shapes.filter((one) => one === shape).length;
    stuck.set({ shape }, count);
    detections.inc({ shape }, count);
  }
  anomalies.set(found.anomalies);
  breakerOpen.set(found.breaker === 'OPEN' ? 1 : 0);
}

export function countHeal(shape: Shape, outcome: 'healed' | 'gone' | 'failed'): void {
  heals.inc({ shape, outcome });
}
