import { Code, ConnectError, type ServiceImpl } from '@connectrpc/connect';
import { z } from 'zod';
import type { Catalog } from '../catalog/catalog.js';
import { commitCheckpoint } from '../catalog/jobs/checkpoints.js';
import { recordEnd } from '../catalog/jobs/task-groups.js';
import type { Logger } from '../log.js';
import type { TaskGroupService } from '../rpc/gen/steward/coordinator/v1/task_groups_pb.js';
import { TaskGroupInfo_State } from '../rpc/gen/steward/worker/v1/inventory_pb.js';
import { JOB_ID, MAX_ID, NODE_NAME } from '../rules/bounds.js';
import type { JobSignals } from './job-signals.js';
import { validated } from './validation.js';

const id = z.bigint().min(1n).max(BigInt(MAX_ID)).transform(Number);
const count = z.bigint().min(0n).max(BigInt(MAX_ID)).transform(Number);
const location = z.object({
  catalogId: z.string(),
  jobId: z.string().regex(JOB_ID),
  pipeline: z.int().min(0),
  taskGroup: z.int().min(0),
});
const reporter = { nodeId: z.string().regex(NODE_NAME), ledgerId: z.uuid() };
const notification = z.object({
  ...reporter,
  taskGroup: z.object({
    taskGroup: location,
    owner: z.uuid(),
    execution: id,
    state: z.enum(TaskGroupInfo_State),
    rowsIn: count,
    rowsOut: count,
    error: z.string(),
  }),
});
const path = z
  .string()
  .min(1)
  .max(4_096)
  .refine(
    (value) => !value.startsWith('/') && !value.split('/').includes('..'),
    'must be relative to the sink',
  );
const proposal = z.object({
  ...reporter,
  taskGroup: location,
  owner: z.uuid(),
  execution: id,
  checkpoint: z.object({
    checkpointId: id,
    position: z.instanceof(Uint8Array),
    parts: z.array(z.object({ staged: path, published: path, rows: count, bytes: count })).max(10_000),
    rowsIn: count,
    rowsOut: count,
  }),
  last: z.boolean(),
});

const ENDS = {
  [TaskGroupInfo_State.FINISHED]: 'FINISHED',
  [TaskGroupInfo_State.FAILED]: 'FAILED',
  [TaskGroupInfo_State.CANCELED]: 'CANCELED',
} as const;

/** Nodes report here what becomes of the task groups that they run. Late news is a logged no-op (I6). */
export function taskGroupService(
  catalog: Catalog,
  catalogId: string,
  signals: JobSignals,
  log: Logger,
): ServiceImpl<typeof TaskGroupService> {
  return {
    async notifyTaskStatus(request) {
      const { nodeId, taskGroup: info } = validated(notification, request);
      const { taskGroup: at, owner, execution, rowsIn, rowsOut, error } = info;
      const state = ENDS[info.state as keyof typeof ENDS] as (typeof ENDS)[keyof typeof ENDS] | undefined;
      if (state === undefined) {
        throw new ConnectError(
          'task_group.state: only FINISHED, FAILED or CANCELED is an end',
          Code.InvalidArgument,
        );
      }
      const { jobId, pipeline, taskGroup } = at;
      const about = { job: jobId, owner, execution, pipeline, taskGroup, node: nodeId, state };
      const end = { jobId, owner, nodeId, pipeline, taskGroup, execution, state, rowsIn, rowsOut, error };
      const answer =
        at.catalogId === catalogId
          ? await recordEnd(catalog, end, log)
          : ({ kind: 'STALE', reason: 'it belongs to another catalog' } as const);
      if (answer.kind === 'STALE') {
        log.warn({ ...about, reason: answer.reason }, 'late end of a task group: nothing changes');
        return { stale: true };
      }
      log.info(about, 'task group ended');
      if (answer.decides)
        await signals.taskGroupEnded(jobId, { owner, execution, pipeline, taskGroup, state });
      return { stale: false };
    },

    async commitCheckpoint(request) {
      const { nodeId, taskGroup: at, owner, execution, checkpoint, last } = validated(proposal, request);
      const { jobId, pipeline, taskGroup } = at;
      const { position, ...rest } = checkpoint;
      const answer =
        at.catalogId === catalogId
          ? await commitCheckpoint(
              catalog,
              {
                jobId,
                owner,
                nodeId,
                pipeline,
                taskGroup,
                execution,
                last,
                ...rest,
                position: Buffer.from(position),
              },
              log,
            )
          : ({ kind: 'STALE', reason: 'it belongs to another catalog' } as const);
      if (answer.kind === 'COMMITTED') return { stale: false };
      log.warn(
        {
          job: jobId,
          owner,
          execution,
          pipeline,
          taskGroup,
          node: nodeId,
          checkpoint: checkpoint.checkpointId,
          reason: answer.reason,
        },
        'late checkpoint: nothing changes',
      );
      return { stale: true };
    },
  };
}
