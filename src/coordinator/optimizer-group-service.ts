import type { MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs, timestampFromDate } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError, type ServiceImpl } from '@connectrpc/connect';
import { z } from 'zod';
import type { Catalog } from '../catalog/catalog.js';
import {
  createOptimizerGroup,
  listOptimizerGroups,
  type OptimizerGroupStatus,
} from '../catalog/optimizing/groups.js';
import type {
  OptimizerGroupSchema,
  OptimizerGroupService,
  OptimizerGroupSettings,
  OptimizerGroupSettingsSchema,
} from '../rpc/gen/steward/coordinator/v1/optimizer_groups_pb.js';
import { ACTOR_NAME, CONTAINER_NAME, OPTIMIZER_GROUP_NAME } from '../rules/bounds.js';
import { InvalidInput } from '../rules/input.js';
import { groupSettingsInput } from '../rules/keeper-input.js';
import type { GroupSettings } from '../rules/keeping.js';
import { validated } from './validation.js';

const DEFAULT_CONTAINER = 'local';
const name = z.string().regex(OPTIMIZER_GROUP_NAME, `a group name matches ${OPTIMIZER_GROUP_NAME.source}`);
const creation = z.object({
  name,
  container: z.literal('').or(z.string().regex(CONTAINER_NAME)),
  properties: z.record(z.string().min(1).max(128), z.string().max(1_024)),
  actor: z.string().regex(ACTOR_NAME),
  settings: z.custom<OptimizerGroupSettings>().optional(),
});
const named = z.object({ name });

/** Groups of optimizers: made and shown. */
export function optimizerGroupService(catalog: Catalog): ServiceImpl<typeof OptimizerGroupService> {
  return {
    async createGroup(request) {
      const { settings: some, ...group } = validated(creation, request);
      const settings = settingsFrom(some);
      const created = await createOptimizerGroup(catalog, {
        ...group,
        settings,
        container: group.container || DEFAULT_CONTAINER,
      });
      if (created) return {};
      throw new ConnectError(`optimizer group ${group.name} exists already`, Code.AlreadyExists);
    },

    async listGroups() {
      const groups = await listOptimizerGroups(catalog);
      return { groups: groups.map(groupMessage) };
    },

    async getGroup(request) {
      const { name } = validated(named, request);
      const [group] = await listOptimizerGroups(catalog, name);
      if (group === undefined)
        throw new ConnectError(`optimizer group ${name} does not exist`, Code.NotFound);
      return { group: groupMessage(group) };
    },
  };
}

function groupMessage(group: OptimizerGroupStatus): MessageInitShape<typeof OptimizerGroupSchema> {
  return {
    ...group,
    createdAt: timestampFromDate(group.createdAt),
    settings: settingsMessage(group.settings),
    resources: group.resources.map(({ epoch, nodeId, lastError, startTime, optimizer, ...resource }) => ({
      ...resource,
      epoch: BigInt(epoch),
      nodeId: nodeId ?? '',
      lastError: lastError ?? '',
      startTime: timestampFromDate(startTime),
      processId: resource.processId ?? '',
      registeredLaunch: BigInt(resource.registeredLaunch),
      ...(optimizer && {
        optimizer: {
          launch: BigInt(optimizer.launch),
          alive: optimizer.alive,
          silent: durationFromMs(optimizer.silentMs),
          registeredAt: timestampFromDate(optimizer.registeredAt),
        },
      }),
    })),
  };
}

/** INVALID_ARGUMENT that names the setting. */
function settingsFrom(message: OptimizerGroupSettings | undefined): Partial<GroupSettings> {
  if (message === undefined) return {};
  const { gracePeriodMs, heartbeatTimeoutMs, $typeName: _, $unknown: __, ...rest } = message;
  const given = Object.entries({
    ...rest,
    gracePeriodMs: gracePeriodMs === undefined ? undefined : Number(gracePeriodMs),
    heartbeatTimeoutMs: heartbeatTimeoutMs === undefined ? undefined : Number(heartbeatTimeoutMs),
  }).filter(([, value]) => value !== undefined);
  if (given.length === 0) return {};
  try {
    return groupSettingsInput(Object.fromEntries(given));
  } catch (error) {
    if (!(error instanceof InvalidInput)) throw error;
    throw new ConnectError(`settings.${error.message}`, Code.InvalidArgument);
  }
}

function settingsMessage(settings: GroupSettings): MessageInitShape<typeof OptimizerGroupSettingsSchema> {
  const { gracePeriodMs, heartbeatTimeoutMs, ...rest } = settings;
  return { ...rest, gracePeriodMs: BigInt(gracePeriodMs), heartbeatTimeoutMs: BigInt(heartbeatTimeoutMs) };
}
