import type { MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs, timestampFromDate } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError, type ServiceImpl } from '@connectrpc/connect';
import { sql } from 'kysely';
import { z } from 'zod';
import { type Catalog, migrationStatus } from '../catalog/catalog.js';
import { createDatabase, type DatabaseStatus, listDatabases } from '../catalog/databases.js';
import { forgetReplica } from '../catalog/forgetting.js';
import {
  holderProgress,
  listRegionGroups,
  planRegionGroups,
  type RegionGroupStatus,
} from '../catalog/inspection.js';
import { allLimits, setLimits } from '../catalog/limits.js';
import { listNodes } from '../catalog/nodes.js';
import { listPauses, pauseOperation, resumeOperation } from '../catalog/pauses.js';
import { listProcesses } from '../catalog/processes.js';
import type { Logger } from '../log.js';
import type { Settings } from '../model/settings.js';
import {
  type CatalogService,
  type DatabaseSchema,
  type HolderSchema,
  RegionGroupKind,
  type RegionGroupSchema,
} from '../rpc/gen/steward/coordinator/v1/catalog_pb.js';
import {
  ACTOR_NAME,
  DATABASE_NAME,
  MAX_GROUPS_PER_REQUEST,
  MAX_ID,
  MAX_LIMIT,
  MAX_REPLICATION_FACTOR,
  NODE_NAME,
  OPERATION_ID,
  REASON,
} from '../rules/bounds.js';
import type { Holder } from '../rules/words.js';
import { version } from '../version.js';
import { validated } from './validation.js';

const PAGE = 1_000;
const databaseName = z.string().regex(DATABASE_NAME, `a database name matches ${DATABASE_NAME.source}`);
const creation = z.object({ name: databaseName, actor: z.string().regex(ACTOR_NAME) });
const forgetting = z.object({
  groupId: z.number().int().min(1).max(MAX_ID),
  nodeId: z.string().regex(NODE_NAME),
  actor: z.string().regex(ACTOR_NAME),
});
const limit = z.number().int().min(1).max(MAX_LIMIT).optional();
const limiting = z.object({
  nodeId: z.literal('').or(z.string().regex(NODE_NAME)),
  limits: z.object({ deletions: limit, creations: limit }).optional(),
  actor: z.string().regex(ACTOR_NAME),
});
const operationId = z.literal('').or(z.string().regex(OPERATION_ID));
const pausing = z.object({
  operationId,
  actor: z.string().regex(ACTOR_NAME),
  reason: z.string().regex(REASON),
});
const resuming = z.object({ operationId, actor: z.string().regex(ACTOR_NAME) });
const plan = z.object({
  database: z.literal('').or(databaseName),
  groups: z.number().int().min(1).max(MAX_GROUPS_PER_REQUEST),
  replicationFactor: z.number().int().min(1).max(MAX_REPLICATION_FACTOR),
});

/** Shows operators the catalog, and makes the changes that need no node. */
export function catalogService(
  catalog: Catalog,
  settings: Settings,
  log: Logger,
): ServiceImpl<typeof CatalogService> {
  return {
    async listNodes() {
      const nodes = await listNodes(catalog, settings.nodeTimeoutMs);
      const limits = await allLimits(catalog);
      return {
        nodes: nodes.map(({ silentMs, incarnation, replicas, capabilities, ...node }) => ({
          ...node,
          limits: limits.get(node.nodeId) ?? limits.get('') ?? {},
          capabilities: [...capabilities],
          incarnation: BigInt(incarnation),
          replicas: BigInt(replicas),
          silent: durationFromMs(silentMs),
        })),
      };
    },

    async listDatabases() {
      return { databases: (await listDatabases(catalog)).map(databaseMessage) };
    },

    async getDatabase({ name }) {
      return { database: databaseMessage(await requireDatabase(name)) };
    },

    async createDatabase(request) {
      const { name, actor } = validated(creation, request);
      const found = await createDatabase(catalog, name, actor);
      if (found === 'CREATED') return {};
      if (found === 'ACTIVE') throw new ConnectError(`database ${name} exists already`, Code.AlreadyExists);
      throw new ConnectError(`database ${name} is being deleted`, Code.FailedPrecondition);
    },

    async listRegionGroups({ database, incompleteOnly, pageSize, after }) {
      if (database !== '') await requireDatabase(database);
      const limit = pageSize === 0 ? PAGE : Math.min(pageSize, PAGE);
      const groups = await listRegionGroups(catalog, {
        ...(database !== '' && { database }),
        incompleteOnly,
        after: Number(after),
        limit,
      });
      const last = groups.at(-1);
      return {
        regionGroups: groups.map(regionGroupMessage),
        nextAfter: last !== undefined && groups.length === limit ? BigInt(last.groupId) : 0n,
      };
    },

    async getRegionGroup({ groupId }) {
      const [group] = await listRegionGroups(catalog, { groupId: Number(groupId), limit: 1 });
      if (group === undefined) {
        throw new ConnectError(
          `region group ${groupId} does not exist (never created, or removed)`,
          Code.NotFound,
        );
      }
      return { regionGroup: regionGroupMessage(group) };
    },

    async planRegionGroups(request) {
      const { database, groups, replicationFactor } = validated(plan, request);
      if (database !== '') await requireDatabase(database);
      const { live, placements } = await planRegionGroups(
        catalog,
        groups,
        replicationFactor,
        settings.nodeTimeoutMs,
      );
      if (placements === undefined) {
        throw new ConnectError(
          `${replicationFactor} replicas need as many live nodes, and there are ${live}`,
          Code.FailedPrecondition,
        );
      }
      return { placements: placements.map((nodeIds) => ({ nodeIds: [...nodeIds] })) };
    },

    async forgetReplica(request) {
      const { groupId, nodeId, actor } = validated(forgetting, {
        ...request,
        groupId: Number(request.groupId),
      });
      const { dryRun } = request;
      const verdict = await forgetReplica(
        catalog,
        { groupId, nodeId, actor },
        { nodeTimeoutMs: settings.nodeTimeoutMs, dryRun },
      );
      switch (verdict.kind) {
        case 'FORGOTTEN':
          if (!dryRun) log.warn({ region: groupId, node: nodeId, actor }, 'replica let go of');
          return {};
        case 'NO_REPLICA':
          throw new ConnectError(`region group ${groupId} has no replica on ${nodeId}`, Code.NotFound);
        case 'NODE_ALIVE':
          throw new ConnectError(
            `${nodeId} lives (last heartbeat ${Math.round(verdict.silentMs / 1_000)} s ago) and can answer for itself: ` +
              'a replica is let go of only when its node is away for good',
            Code.FailedPrecondition,
          );
      }
    },

    async getHolder({ workflowId, firstRunId }) {
      const progress = await holderProgress(catalog, workflowId, firstRunId || undefined);
      if (progress === undefined) throw new ConnectError(`${workflowId} holds nothing`, Code.NotFound);
      return {
        holder: holderMessage(progress.holder),
        replicas: progress.replicas,
        open: progress.open.map(({ nodeId, replicas }) => ({ nodeId, replicas })),
        ...(progress.endedAt && { endedAt: timestampFromDate(progress.endedAt) }),
        ...(progress.supersededBy && { supersededBy: holderMessage(progress.supersededBy) }),
      };
    },

    async getStatus() {
      const [{ applied, missing, unknown }, processes, groups, { rows }] = await Promise.all([
        migrationStatus(catalog),
        listProcesses(catalog),
        catalog.selectFrom('optimizer_group').select('name').orderBy('name').execute(),
        sql<{ now: Date }>`SELECT clock_timestamp() AS now`.execute(catalog),
      ]);
      return {
        version: version(),
        migrationsApplied: [...applied],
        migrationsMissing: [...missing],
        migrationsUnknown: [...unknown],
        catalogNow: timestampFromDate(rows[0]!.now),
        coordinatorNow: timestampFromDate(new Date()),
        nodeTimeout: durationFromMs(settings.nodeTimeoutMs),
        processes: processes.map(({ nodeTimeoutMs, startedAt, silentMs, build, ...process }) => ({
          ...process,
          ...build,
          nodeTimeout: durationFromMs(nodeTimeoutMs),
          startedAt: timestampFromDate(startedAt),
          silent: durationFromMs(silentMs),
        })),
        optimizerGroups: groups.map(({ name }) => name),
      };
    },

    async setNodeLimits(request) {
      const { nodeId, limits: wanted, actor } = validated(limiting, request);
      const { deletions, creations } = wanted ?? {};
      const limits = wanted && {
        ...(deletions !== undefined && { deletions }),
        ...(creations !== undefined && { creations }),
      };
      if (!(await setLimits(catalog, nodeId === '' ? undefined : nodeId, limits, actor)))
        throw new ConnectError(`node ${nodeId} does not exist`, Code.NotFound);
      log.info({ node: nodeId || 'all', limits, actor }, 'limits of nodes set');
      return {};
    },

    async pauseOperation(request) {
      const { operationId: id, actor, reason } = validated(pausing, request);
      await pauseOperation(catalog, { operationId: id, actor, reason });
      log.warn({ operation: id || 'all', actor, reason }, 'paused');
      return {};
    },

    async resumeOperation(request) {
      const { operationId: id, actor } = validated(resuming, request);
      if (!(await resumeOperation(catalog, id, actor))) {
        const what = id === '' ? 'not everything is paused' : `${id} is not paused`;
        throw new ConnectError(what, Code.FailedPrecondition);
      }
      log.info({ operation: id || 'all', actor }, 'resumed');
      return {};
    },

    async listPauses() {
      const pauses = await listPauses(catalog);
      return { pauses: pauses.map(({ since, ...pause }) => ({ ...pause, since: timestampFromDate(since) })) };
    },
  };

  async function requireDatabase(name: string): Promise<DatabaseStatus> {
    const [database] = await listDatabases(catalog, name);
    if (database === undefined) throw new ConnectError(`database ${name} does not exist`, Code.NotFound);
    return database;
  }
}

function holderMessage({ since, ...holder }: Holder): MessageInitShape<typeof HolderSchema> {
  return { ...holder, since: timestampFromDate(new Date(since)) };
}

function databaseMessage({
  createdAt,
  holder,
  ...database
}: DatabaseStatus): MessageInitShape<typeof DatabaseSchema> {
  return {
    ...database,
    createdAt: timestampFromDate(createdAt),
    ...(holder && { holder: holderMessage(holder) }),
  };
}

const KINDS = { SCHEMA: RegionGroupKind.SCHEMA, DATA: RegionGroupKind.DATA } as const;

function regionGroupMessage({
  groupId,
  kind,
  epoch,
  createdAt,
  holder,
  replicas,
  ...group
}: RegionGroupStatus): MessageInitShape<typeof RegionGroupSchema> {
  return {
    ...group,
    groupId: BigInt(groupId),
    kind: KINDS[kind],
    epoch: BigInt(epoch),
    createdAt: timestampFromDate(createdAt),
    replicas: replicas.map((replica) => ({ ...replica })),
    ...(holder && { holder: holderMessage(holder) }),
  };
}
