import { Counter, Histogram } from 'prom-client';
import { registry } from './registry.js';

const ended = new Counter({
  name: 'steward_node_operations_ended_total',
  help: 'Operations that a node told this worker to be over, by verb, node and outcome (success, fail)',
  labelNames: ['verb', 'node', 'outcome'],
  registers: [registry],
});
const seconds = new Histogram({
  name: 'steward_node_operation_seconds',
  help: 'From the acceptance of an operation by its node to its success, by the clock of the node and by verb',
  labelNames: ['verb'],
  buckets: [0.005, 0.025, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3_600],
  registers: [registry],
});

export function countNodeSuccess(verb: string, node: string, durationMs: number): void {
  ended.inc({ verb, node, outcome: 'success' });
  seconds.observe({ verb }, Math.max(0, durationMs) / 1000);
}

export function countNodeFailure(verb: string, node: string): void {
  ended.inc({ verb, node, outcome: 'fail' });
}
