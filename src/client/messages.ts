import { durationMs, type Timestamp, timestampDate } from '@bufbuild/protobuf/wkt';
import {
  type Database as DatabaseMessage,
  type Holder as HolderMessage,
  type Node as NodeMessage,
  RegionGroupKind,
  type RegionGroup as RegionGroupMessage,
} from '../rpc/gen/steward/coordinator/v1/catalog_pb.js';
import type { Holder, HoldingWorkflow } from '../rules/words.js';
import type { Database, Node, RegionGroup, Replica } from './model.js';

/** What the coordinator answers, as the client's plain data. */

export function nodeFrom(node: NodeMessage): Node {
  return {
    nodeId: node.nodeId,
    ledgerId: node.ledgerId,
    address: node.address,
    incarnation: Number(node.incarnation),
    capabilities: node.capabilities,
    alive: node.alive,
    silentMs: node.silent === undefined ? 0 : durationMs(node.silent),
    replicas: Number(node.replicas),
    limits: {
      ...(node.limits?.deletions !== undefined && { deletions: node.limits.deletions }),
      ...(node.limits?.creations !== undefined && { creations: node.limits.creations }),
    },
  };
}

export function databaseFrom(database: DatabaseMessage): Database {
  return {
    name: database.name,
    state: database.state as Database['state'],
    createdBy: database.createdBy,
    createdAt: isoOf(database.createdAt),
    schemaRegionGroups: database.schemaRegionGroups,
    dataRegionGroups: database.dataRegionGroups,
    runningRegionGroups: database.runningRegionGroups,
    replicas: database.replicas,
    runningReplicas: database.runningReplicas,
    partitionSlots: database.partitionSlots,
    ...(database.holder && { holder: holderFrom(database.holder) }),
  };
}

export function regionGroupFrom(group: RegionGroupMessage): RegionGroup {
  return {
    groupId: Number(group.groupId),
    database: group.database,
    kind: group.kind === RegionGroupKind.SCHEMA ? 'SCHEMA' : 'DATA',
    replicationFactor: group.replicationFactor,
    state: group.state as RegionGroup['state'],
    epoch: Number(group.epoch),
    createdAt: isoOf(group.createdAt),
    partitionSlots: group.partitionSlots,
    replicas: group.replicas.map(({ nodeId, state, attempt, lastError }) => ({
      nodeId,
      state: state as Replica['state'],
      attempt,
      ...(lastError !== '' && { lastError }),
    })),
    ...(group.holder && { holder: holderFrom(group.holder) }),
  };
}

export function holderFrom({ workflowId, firstRunId, workflowType, actor, since }: HolderMessage): Holder {
  return {
    workflowId,
    firstRunId,
    workflowType: workflowType as HoldingWorkflow,
    actor,
    since: isoOf(since),
  };
}

/** ISO 8601; empty for a time that was left away. */
export function isoOf(timestamp: Timestamp | undefined): string {
  return timestamp === undefined ? '' : timestampDate(timestamp).toISOString();
}
