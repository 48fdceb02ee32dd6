import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError, type ServiceImpl } from '@connectrpc/connect';
import { z } from 'zod';
import type { Catalog } from '../catalog/catalog.js';
import { completeTask, type TaskOutcome } from '../catalog/optimizing/completion.js';
import { ackTask, pollTask, type TaskAttempt } from '../catalog/optimizing/handing-out.js';
import {
  findOptimizer,
  type KnownOptimizer,
  registerOptimizer,
  type TouchVerdict,
  touchOptimizer,
} from '../catalog/optimizing/optimizers.js';
import type { Logger } from '../log.js';
import type { Settings } from '../model/settings.js';
import type { OptimizingService } from '../rpc/gen/steward/coordinator/v1/optimizing_pb.js';
import type { TaskResult } from '../rpc/gen/steward/worker/v1/inventory_pb.js';
import {
  MAX_ID,
  MAX_OPTIMIZER_MEMORY_MB,
  MAX_OPTIMIZER_THREADS,
  MIN_OPTIMIZER_MEMORY_MB,
  NODE_NAME,
  OPTIMIZER_GROUP_NAME,
  RESOURCE_NAME,
} from '../rules/bounds.js';
import type { Settler } from './settler.js';
import { validated } from './validation.js';

const MAX_ERROR_LENGTH = 2_000;
const TASK_ID = /^([1-9]\d{0,14})\/([1-9]\d{0,8})$/;

const token = z.uuid();
const registration = z.object({
  resourceId: z.string().regex(RESOURCE_NAME),
  group: z.string().regex(OPTIMIZER_GROUP_NAME),
  token: z.literal(''),
  launch: z.coerce.number().int().min(0).max(MAX_ID),
  threads: z.number().int().min(1).max(MAX_OPTIMIZER_THREADS),
  memoryMb: z.number().int().min(MIN_OPTIMIZER_MEMORY_MB).max(MAX_OPTIMIZER_MEMORY_MB),
  nodeId: z.literal('').or(z.string().regex(NODE_NAME)),
});
const heartbeat = z.object({ resourceId: z.string().regex(RESOURCE_NAME), token });
const poll = z.object({ token });
const taskAttemptFields = {
  taskId: z.string().regex(TASK_ID, 'a task id is <process>/<task>'),
  attempt: z.number().int().min(1),
};
const attempt = z.object({ token, ...taskAttemptFields });
const completion = z.union([
  attempt,
  z.object({ token: z.literal(''), resourceId: z.string().regex(RESOURCE_NAME), ...taskAttemptFields }),
]);
const size = z.coerce.number().int().min(0).max(MAX_ID);
const outputs = z.array(z.object({ path: z.string().min(1).max(512), rows: size, bytes: size })).max(1);

/** Optimizers call here; the contract stands in the service's definition. Stateless: everything is a row of the catalog. */
export function optimizingService(
  catalog: Catalog,
  settings: Settings,
  settler: Pick<Settler, 'settle'>,
  log: Logger,
): ServiceImpl<typeof OptimizingService> {
  return {
    async touch(request) {
      const known = await touched(request);
      return { token: known, heartbeatInterval: durationFromMs(settings.heartbeatIntervalMs) };
    },

    async pollTask(request) {
      const optimizer = await requireOptimizer(validated(poll, request).token);
      requireKept(optimizer);
      const task = await pollTask(catalog, optimizer);
      if (task === undefined) return { retryAfter: durationFromMs(settings.pollIntervalMs) };
      return {
        task: {
          taskId: `${task.processId}/${task.taskNo}`,
          attempt: task.attempt,
          location: task.location,
          inputs: task.inputs.map(({ path, rows, bytes }) => ({
            path,
            rows: BigInt(rows),
            bytes: BigInt(bytes),
          })),
          output: task.output,
        },
      };
    },

    async ackTask(request) {
      const asked = validated(attempt, request);
      const optimizer = await requireOptimizer(asked.token);
      requireKept(optimizer);
      const task = taskAttempt(asked);
      if ((await ackTask(catalog, optimizer, task)) === 'STALE') throw stale(asked);
      return {};
    },

    async completeTask(request) {
      const asked = validated(completion, request);
      const outcome = outcomeOf(request.result);
      const resourceId =
        'resourceId' in asked ? asked.resourceId : (await requireOptimizer(asked.token)).resourceId;
      const task = taskAttempt(asked);
      const verdict = await completeTask(catalog, resourceId, task, outcome);
      if (verdict === 'STALE') throw stale(asked);
      settler.settle(task.processId);
      return {};
    },
  };

  async function touched(request: { readonly token: string; readonly resourceId: string }): Promise<string> {
    if (request.token !== '') {
      const { resourceId, token } = validated(heartbeat, request);
      return tokenOf(await touchOptimizer(catalog, resourceId, token), resourceId);
    }
    const { nodeId, ...optimizer } = validated(registration, request);
    const verdict = await registerOptimizer(catalog, { ...optimizer, nodeId: nodeId || undefined });
    const named = { resource: optimizer.resourceId, group: optimizer.group, launch: optimizer.launch };
    if (verdict.kind === 'ALIVE') {
      log.info({ ...named, inherited: verdict.inherited }, 'optimizer registered');
    } else if (verdict.kind === 'REFUSED') {
      log.warn({ ...named, reason: verdict.reason }, 'optimizer refused');
    }
    return tokenOf(verdict, optimizer.resourceId);
  }

  async function requireOptimizer(token: string): Promise<KnownOptimizer> {
    const optimizer = await findOptimizer(catalog, token);
    if (optimizer !== undefined) return optimizer;
    throw new ConnectError('token: not, or no longer, the one of a resource; register again', Code.NotFound);
  }
}

function tokenOf(verdict: TouchVerdict, resourceId: string): string {
  switch (verdict.kind) {
    case 'ALIVE':
      return verdict.token;
    case 'UNKNOWN_TOKEN':
      throw new ConnectError(
        `token: not, or no longer, the one of ${resourceId}; register again`,
        Code.NotFound,
      );
    case 'REFUSED':
      throw new ConnectError(verdict.reason, Code.FailedPrecondition);
  }
}

/** What is being released takes no task; it may still hand in what it has. */
function requireKept({ releasing, resourceId }: KnownOptimizer): void {
  if (releasing) {
    throw new ConnectError(`resource ${resourceId} is being released`, Code.FailedPrecondition);
  }
}

function taskAttempt({
  taskId,
  attempt,
}: {
  readonly taskId: string;
  readonly attempt: number;
}): TaskAttempt {
  const [, process, task] = TASK_ID.exec(taskId)!;
  return { processId: Number(process), taskNo: Number(task), attempt };
}

function stale({ taskId, attempt }: { readonly taskId: string; readonly attempt: number }): ConnectError {
  return new ConnectError(
    `attempt ${attempt} of task ${taskId} is stale: it was planned again, or is over`,
    Code.Aborted,
  );
}

function outcomeOf(result: TaskResult | undefined): TaskOutcome {
  const outcome = result?.outcome;
  switch (outcome?.case) {
    case 'merged':
      return { kind: 'MERGED', outputs: validated(outputs, outcome.value.outputs) };
    case 'error':
      return {
        kind: 'ERROR',
        error: outcome.value.slice(0, MAX_ERROR_LENGTH) || 'the optimizer did not say why',
      };
    case undefined:
      throw new ConnectError('result: expected merged or error', Code.InvalidArgument);
  }
}
