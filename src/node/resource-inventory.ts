import { Code, ConnectError, type ServiceImpl } from '@connectrpc/connect';
import type { Logger } from '../log.js';
import { Outbox } from '../optimizer/outbox.js';
import { RunningTasks } from '../optimizer/running-tasks.js';
import { fileNameOf, resultMessage } from '../optimizer/task.js';
import { isAlive } from '../process-identity.js';
import {
  GetTaskResultResponse_State,
  type InventoryService,
} from '../rpc/gen/steward/worker/v1/inventory_pb.js';
import { resourcePath } from '../rules/operation-id.js';
import { invalidToken, pageSize } from './inventory-pages.js';
import type { Ledger } from './ledger.js';
import { checkNodeRef, type NodeIdentity } from './node-identity.js';
import type { ResourceKey } from './operation.js';
import { processIdOf } from './optimizer-container.js';
import { compareResources, isResourceKey, type OptimizerPlaces, parseResource } from './optimizer-places.js';

export type ResourceInventory = Pick<ServiceImpl<typeof InventoryService>, 'listResources' | 'getTaskResult'>;

/** What is there of optimizer resources, by their directories. Changes nothing. */
export function resourceInventory(
  places: OptimizerPlaces,
  ledger: Ledger,
  identity: NodeIdentity,
  log: Logger,
): ResourceInventory {
  const toInfo = (resource: ResourceKey) => {
    const place = places.of(resource);
    const last = place.lastOccupant();
    return {
      resource,
      group: place.desired()?.group ?? '',
      epoch: BigInt(ledger.highestEpoch(`resource/${resourcePath(resource)}`)),
      processId: last === undefined ? '' : processIdOf(last),
      running: last !== undefined && isAlive(last),
      unacknowledged: new Outbox(place.outbox, log).size,
    };
  };

  return {
    listResources({ node, pageSize: asked, pageToken, catalogId }) {
      checkNodeRef(node, identity);
      const limit = pageSize(asked);
      const after = resourceAfter(pageToken);
      const found = places
        .list()
        .filter((key) => catalogId === '' || key.catalogId === catalogId)
        .filter((key) => after === undefined || compareResources(key, after) > 0);
      const page = found.slice(0, limit);
      return {
        resources: page.map(toInfo),
        nextPageToken: found.length > limit ? resourcePath(page.at(-1)!) : '',
      };
    },

    getTaskResult({ node, resource, taskId, attempt }) {
      checkNodeRef(node, identity);
      if (resource === undefined || !isResourceKey(resource)) {
        throw new ConnectError('resource must name a catalog (UUID) and a resource id', Code.InvalidArgument);
      }
      const key = { taskId, attempt };
      if (taskId === '' || !canBeKept(key)) {
        throw new ConnectError('task_id must be <process>/<task>', Code.InvalidArgument);
      }
      const place = places.of(resource);
      const outbox = new Outbox(place.outbox, log);
      // A result comes into the outbox before the marker goes: who finds neither has to look into the outbox again.
      const running = outbox.find(key) === undefined && new RunningTasks(place.running, log).isRunning(key);
      const entry = outbox.find(key);
      if (entry !== undefined) {
        return { state: GetTaskResultResponse_State.RESULT, result: resultMessage(entry.result) };
      }
      return { state: running ? GetTaskResultResponse_State.RUNNING : GetTaskResultResponse_State.NONE };
    },
  };
}

function canBeKept(key: { taskId: string; attempt: number }): boolean {
  try {
    fileNameOf(key);
    return true;
  } catch {
    return false;
  }
}

function resourceAfter(token: string): ResourceKey | undefined {
  if (token === '') return undefined;
  const key = parseResource(token);
  if (key !== undefined) return key;
  throw invalidToken(token);
}
