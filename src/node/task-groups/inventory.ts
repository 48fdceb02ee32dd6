import type { ServiceImpl } from '@connectrpc/connect';
import type { InventoryService } from '../../rpc/gen/steward/worker/v1/inventory_pb.js';
import { type TaskGroupLocation, taskGroupPath } from '../../rules/operation-id.js';
import { invalidToken, pageSize } from '../inventory-pages.js';
import { checkNodeRef, type NodeIdentity } from '../node-identity.js';
import type { TaskGroupFacility } from './facility.js';
import { toTaskGroupInfo } from './messages.js';
import { parseTaskGroupPath } from './records.js';

/** What of the inventory a node with the capability `task-groups` answers. */
export type TaskGroupInventory = Pick<ServiceImpl<typeof InventoryService>, 'listTaskGroups'>;

/** The task groups that are active, or ended and not yet superseded or forgotten. */
export function taskGroupInventory(
  taskGroups: TaskGroupFacility,
  identity: NodeIdentity,
): TaskGroupInventory {
  return {
    listTaskGroups(request) {
      checkNodeRef(request.node, identity);
      const limit = pageSize(request.pageSize);
      const found = taskGroups.list({
        limit: limit + 1,
        after: locationAfter(request.pageToken),
        catalogId: request.catalogId === '' ? undefined : request.catalogId,
        jobId: request.jobId === '' ? undefined : request.jobId,
      });
      const page = found.slice(0, limit);
      const last = page.at(-1);
      return {
        taskGroups: page.map(({ record, idleMs }) => toTaskGroupInfo(record, idleMs)),
        nextPageToken: found.length > limit && last !== undefined ? taskGroupPath(last.record.location) : '',
      };
    },
  };
}

function locationAfter(token: string): TaskGroupLocation | undefined {
  if (token === '') return undefined;
  const location = parseTaskGroupPath(token);
  if (location === undefined) throw invalidToken(token);
  return location;
}
