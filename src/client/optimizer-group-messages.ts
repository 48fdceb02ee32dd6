import { durationMs } from '@bufbuild/protobuf/wkt';
import type {
  OptimizerGroup as GroupMessage,
  OptimizerResource as ResourceMessage,
} from '../rpc/gen/steward/coordinator/v1/optimizer_groups_pb.js';
import type { GroupSettings } from '../rules/keeping.js';
import { isoOf } from './messages.js';
import type { OptimizerGroup, OptimizerResource } from './optimizer-group-model.js';

/** What the coordinator answers of a group, as the client's plain data. */
export function groupFrom(message: GroupMessage): OptimizerGroup {
  const { name, container, properties, createdBy, createdAt, tables, plannedTasks } = message;
  const { $typeName: _, $unknown: __, gracePeriodMs, heartbeatTimeoutMs, ...rest } = message.settings!;
  const resources = message.resources.map(resourceFrom);
  const alive = resources.filter(({ optimizer }) => optimizer?.alive);
  return {
    name,
    container,
    properties,
    // The coordinator fills the defaults in.
    settings: {
      ...(rest as Required<typeof rest>),
      gracePeriodMs: Number(gracePeriodMs),
      heartbeatTimeoutMs: Number(heartbeatTimeoutMs),
    } as GroupSettings,
    createdBy,
    createdAt: isoOf(createdAt),
    tables,
    plannedTasks,
    liveThreads: alive.reduce((sum, { threads }) => sum + threads, 0),
    liveOptimizers: alive.length,
    resources,
  };
}

function resourceFrom(message: ResourceMessage): OptimizerResource {
  const { resourceId, container, nodeId, epoch, threads, memoryMb, properties, processId } = message;
  const { startTime, registeredLaunch, lastError, optimizer } = message;
  return {
    resourceId,
    state: message.state as OptimizerResource['state'],
    container,
    ...(nodeId !== '' && { nodeId }),
    launch: Number(epoch),
    threads,
    memoryMb,
    properties,
    ...(processId !== '' && { processId }),
    startTime: isoOf(startTime),
    registeredLaunch: Number(registeredLaunch),
    ...(lastError !== '' && { lastError }),
    ...(optimizer && {
      optimizer: {
        launch: Number(optimizer.launch),
        alive: optimizer.alive,
        silentMs: optimizer.silent === undefined ? 0 : durationMs(optimizer.silent),
        registeredAt: isoOf(optimizer.registeredAt),
      },
    }),
  };
}
