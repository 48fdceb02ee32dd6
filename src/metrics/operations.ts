import { Counter, Histogram } from 'prom-client';
import { registry } from './registry.js';

const started = new Counter({
  name: 'steward_operations_started_total',
  help: 'Operations (workflows) that this worker began, by type; one that continues as new is begun once',
  labelNames: ['type'],
  registers: [registry],
});
const ended = new Counter({
  name: 'steward_operations_ended_total',
  help: 'Operations (workflows) that ended on this worker, by type and outcome (done, failed, canceled, superseded)',
  labelNames: ['type', 'outcome'],
  registers: [registry],
});
const seconds = new Histogram({
  name: 'steward_operation_seconds',
  help: 'From the start of an operation (workflow) to its end, by type and outcome',
  labelNames: ['type', 'outcome'],
  buckets: [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3_600, 14_400, 86_400],
  registers: [registry],
});

export function countStarted(type: string): void {
  started.inc({ type });
}

export function countEnded(type: string, outcome: string, tookMs: number): void {
  ended.inc({ type, outcome });
  seconds.observe({ type, outcome }, Math.max(0, tookMs) / 1000);
}
