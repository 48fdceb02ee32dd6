import { randomUUID } from 'node:crypto';
import type { CreationResult } from '../../workflows/regions/create-region-groups.js';
import type { RecreationResult } from '../../workflows/regions/recreate-missing-replicas.js';
import type { RemovalResult } from '../../workflows/regions/remove-region-groups.js';
import { MAX_ID, NODE_NAME } from '../rules/bounds.js';
import { counted } from '../rules/counted.js';
import {
  type CreateRegionGroupsInput,
  createRegionGroupsInput,
  integer,
  recreateMissingReplicasInput,
  removeRegionGroupsInput,
  text,
} from '../rules/input.js';
import type { RegionKind } from '../rules/words.js';
import type { Coordinator } from './coordinator.js';
import { databaseName } from './databases.js';
import { StewardError } from './errors.js';
import { regionGroupFrom } from './messages.js';
import type { RegionGroup, RegionGroupPlan } from './model.js';
import type { Ended, OperationHandle } from './operation-handle.js';
import type { Operations } from './operations.js';
import type { Start, Temporal } from './temporal.js';
import { valid } from './validation.js';

export interface RegionGroupCreation {
  readonly database: string;
  readonly kind: RegionKind;
  /** 1 to 1,000. */
  readonly groups: number;
  /** 1 to 9, and no more than there are live nodes. */
  readonly replicationFactor: number;
  /** Names this request, so that asking twice creates once; a new name when absent. */
  readonly request?: string | undefined;
}

/** A creation to be planned. */
export interface RegionGroupPlanning
  extends Pick<RegionGroupCreation, 'kind' | 'groups' | 'replicationFactor'> {
  readonly database?: string | undefined;
}

export interface RegionGroupFilter {
  readonly database?: string | undefined;
  /** Only region groups that lack a running replica, or are not RUNNING. */
  readonly incomplete?: boolean | undefined;
}

const ASKED_SINGLY = 50;

/** `client.regionGroups` */
export class RegionGroups {
  constructor(
    private readonly coordinator: Coordinator,
    private readonly temporal: () => Promise<Temporal>,
    private readonly operations: Operations,
    private readonly actor: string,
  ) {}

  /**
   * Starts a creation. Asking again with the same request name attaches to the one that runs, or goes on with what is
   * open; it never creates twice. The operation ends when each region group has its quorum or missed it.
   *
   * @throws StewardError INVALID_INPUT; REJECTED when another creation runs under that request name; UNAVAILABLE
   */
  async create(creation: RegionGroupCreation): Promise<OperationHandle<Ended<CreationResult>>> {
    const { request = shortId() } = creation;
    const input = valid(() => createRegionGroupsInput({ ...creation, request, actor: this.actor }));
    const { database, kind, groups, replicationFactor } = input;
    const what = `${counted(groups, `${kind} region group`)} of ${replicationFactor} replicas`;
    return this.#start({
      workflowType: 'createRegionGroups',
      workflowId: creationId(input),
      input,
      summary: `create ${what} in ${database}`,
      details: `Creates ${what} in database ${database}. Request ${request} of ${this.actor}.`,
      database,
      resource: `database/${database}`,
      attachIf: { kind, groups, replicationFactor },
    });
  }

  /**
   * Starts bringing the replicas that RUNNING region groups of a database lack; it ends when they are there, or the region
   * groups are taken over.
   *
   * @throws StewardError INVALID_INPUT, UNAVAILABLE
   */
  async recreateMissing(what: {
    readonly database: string;
    readonly groups: readonly number[];
  }): Promise<OperationHandle<Ended<RecreationResult>>> {
    const input = valid(() => recreateMissingReplicasInput({ ...what, actor: this.actor }));
    const groups = input.groups ?? [];
    const subject = named(groups);
    return this.#start({
      workflowType: 'recreateMissingReplicas',
      workflowId: `region-groups/${range(groups)}/recreate/${shortId()}`,
      input,
      summary: `recreate missing replicas of ${subject}`,
      details: `Brings the replicas that ${listed(groups)} of database ${input.database} lack. Asked by ${this.actor}.`,
      database: input.database,
      resource: resourceOf(groups),
    });
  }

  /**
   * Starts a removal; it ends when every node has confirmed (I1, I4). A node that is down holds up its own replicas.
   *
   * @throws StewardError INVALID_INPUT; HELD when a removal of the one region group runs already; UNAVAILABLE
   */
  async remove(what: { readonly groups: readonly number[] }): Promise<OperationHandle<Ended<RemovalResult>>> {
    const input = valid(() => removeRegionGroupsInput({ groups: what.groups, actor: this.actor }));
    const groups = input.groups ?? [];
    return this.#start({
      workflowType: 'removeRegionGroups',
      workflowId:
        groups.length === 1
          ? `region-group/${groups[0]}/remove`
          : `region-groups/${range(groups)}/remove/${shortId()}`,
      input,
      summary: `remove ${named(groups)}`,
      details: `Removes ${listed(groups)} from every node. Asked by ${this.actor}.`,
      resource: resourceOf(groups),
    });
  }

  /**
   * Region groups with their replicas, in the order of ids; however many there are.
   *
   * @throws StewardError INVALID_INPUT, NOT_FOUND (the database), UNAVAILABLE
   */
  async list({ database, incomplete = false }: RegionGroupFilter = {}): Promise<RegionGroup[]> {
    const name = database === undefined ? '' : databaseName(database);
    const found: RegionGroup[] = [];
    for (let after = 0n; ; ) {
      const request = { database: name, incompleteOnly: incomplete, after };
      const page = await this.coordinator.ask((catalog) => catalog.listRegionGroups(request));
      found.push(...page.regionGroups.map(regionGroupFrom));
      if (page.nextAfter === 0n) return found;
      after = page.nextAfter;
    }
  }

  /** @throws StewardError INVALID_INPUT, NOT_FOUND, UNAVAILABLE */
  async get(groupId: number): Promise<RegionGroup> {
    const id = valid(() => integer({ groupId }, 'groupId', 1, MAX_ID));
    const { regionGroup } = await this.coordinator.ask((catalog) =>
      catalog.getRegionGroup({ groupId: BigInt(id) }),
    );
    return regionGroupFrom(regionGroup!);
  }

  /**
   * Region groups by id, in the order that was asked for.
   *
   * @throws StewardError INVALID_INPUT, NOT_FOUND (names what is missing), UNAVAILABLE
   */
  async getMany(groupIds: readonly number[]): Promise<RegionGroup[]> {
    const known = new Map((await this.#find(groupIds)).map((group) => [group.groupId, group]));
    const missing = groupIds.filter((id) => !known.has(id));
    if (missing.length > 0) {
      throw new StewardError('NOT_FOUND', `${listed(missing)} does not exist (never created, or removed)`);
    }
    return groupIds.map((id) => known.get(id)!);
  }

  /**
   * Lets go of a replica whose node is away for good: the caller's word alone. It leaves a record from which the sweep
   * deletes the region if that node ever returns. `dryRun` only says whether it could be done.
   *
   * @throws StewardError INVALID_INPUT, NOT_FOUND (no such replica), REJECTED while the node lives, UNAVAILABLE
   */
  async forgetReplica(
    which: { readonly groupId: number; readonly nodeId: string },
    options: { readonly dryRun?: boolean } = {},
  ): Promise<void> {
    const { groupId, nodeId } = valid(() => ({
      groupId: integer({ groupId: which.groupId }, 'groupId', 1, MAX_ID),
      nodeId: text({ nodeId: which.nodeId }, 'nodeId', NODE_NAME),
    }));
    const request = { groupId: BigInt(groupId), nodeId, actor: this.actor, dryRun: options.dryRun ?? false };
    try {
      await this.coordinator.ask((catalog) => catalog.forgetReplica(request));
    } catch (error) {
      if (!(error instanceof StewardError) || error.code !== 'REJECTED') throw error;
      throw new StewardError('REJECTED', error.message, { details: 'NODE_ALIVE', cause: error });
    }
  }

  /**
   * What a creation would do now; nothing is changed. Without `database`: in one that is yet to be made.
   *
   * @throws StewardError as the creation would: INVALID_INPUT, NOT_FOUND, REJECTED (too few live nodes), UNAVAILABLE
   */
  async plan({ database, ...creation }: RegionGroupPlanning): Promise<RegionGroupPlan> {
    const input = valid(() =>
      createRegionGroupsInput({
        ...creation,
        database: database ?? 'planned',
        request: 'plan',
        actor: this.actor,
      }),
    );
    const request = { ...input, database: database ?? '' };
    const { placements } = await this.coordinator.ask((catalog) => catalog.planRegionGroups(request));
    return { placements: placements.map(({ nodeIds }) => nodeIds) };
  }

  /** Those that exist: asked for one by one when they are few, else found among all. */
  async #find(groupIds: readonly number[]): Promise<RegionGroup[]> {
    if (groupIds.length > ASKED_SINGLY) return this.list();
    const found = await Promise.all(groupIds.map((id) => this.get(id).catch(unlessNotFound)));
    return found.filter((group) => group !== undefined);
  }

  async #start<T>(start: Start): Promise<OperationHandle<T>> {
    const temporal = await this.temporal();
    const { runId, attached } = await temporal.start(start);
    return this.operations.handleOf<T>(temporal, start.workflowId, runId, attached);
  }
}

/** The id under which a creation runs. */
export function creationId({
  database,
  request,
}: Pick<CreateRegionGroupsInput, 'database' | 'request'>): string {
  return `database/${database}/create/${request}`;
}

function unlessNotFound(error: unknown): undefined {
  if (error instanceof StewardError && error.code === 'NOT_FOUND') return undefined;
  throw error;
}

function shortId(): string {
  return randomUUID().slice(0, 8);
}

/** `7` for one, `7+2` for three of which 7 is the first. */
function range(groups: readonly number[]): string {
  return groups.length === 1 ? `${groups[0]}` : `${groups[0]}+${groups.length - 1}`;
}

function resourceOf(groups: readonly number[]): string {
  return groups.length === 1 ? `region-group/${groups[0]}` : `region-groups/${range(groups)}`;
}

function named(groups: readonly number[]): string {
  return groups.length === 1
    ? `region group ${groups[0]}`
    : `${groups.length} region groups, from ${groups[0]} on`;
}

const LISTED = 50;

function listed(groups: readonly number[]): string {
  const shown = groups.slice(0, LISTED).join(', ');
  const more = groups.length > LISTED ? ` and ${groups.length - LISTED} more` : '';
  return `region ${groups.length === 1 ? 'group' : 'groups'} ${shown}${more}`;
}
