import { Counter, Histogram } from 'prom-client';
import { parseOperationId } from '../rules/operation-id.js';
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

/** More ends than are asked for again. The oldest are forgotten first. */
const KNOWN_ENDS = 10_000;
/** Operations whose end was counted: a node tells it as often as it is asked. */
const known = new Set<string>();

/** What a node said of an operation, as far as it is counted. */
type ToldStatus =
  | { readonly state: 'SUCCESS'; readonly durationMs: number }
  | { readonly state: 'FAIL' | 'PROCESSING' | 'TASK_NOT_EXIST' | 'REFUSED' };

/** Counts the operations that a node told to be over, each once. */
export function countEnds(operationIds: readonly string[], statuses: readonly ToldStatus[]): void {
  for (const [index, status] of statuses.entries()) {
    const operationId = operationIds[index]!;
    if ((status.state !== 'SUCCESS' && status.state !== 'FAIL') || known.has(operationId)) continue;
    known.add(operationId);
    if (known.size > KNOWN_ENDS) known.delete(known.values().next().value!);
    const key = parseOperationId(operationId);
    if (key === undefined) continue;
    const { verb, nodeId: node } = key;
    ended.inc({ verb, node, outcome: status.state === 'SUCCESS' ? 'success' : 'fail' });
    if (status.state === 'SUCCESS') seconds.observe({ verb }, Math.max(0, status.durationMs) / 1000);
  }
}
