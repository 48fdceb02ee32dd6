import { heartbeat } from '@temporalio/activity';
import type { ApplicationFailure } from '@temporalio/common';
import type { Catalog } from '../../src/catalog/catalog.js';
import { findNode } from '../../src/catalog/nodes.js';
import {
  expireOptimizers,
  findGroup,
  type KeptGroup,
  setGroupSettings,
  takeGroup,
  viewGroup,
} from '../../src/catalog/optimizers/keeping.js';
import {
  allocateResource,
  beginRelease,
  dropReleased,
  placeResource,
  type ResourceRow,
  recordContainerError,
  recordStarted,
  relaunchResource,
} from '../../src/catalog/optimizers/resources.js';
import type { Containers, OptimizerContainer, OptimizerPlace } from '../../src/engines/containers.js';
import type { Logger } from '../../src/log.js';
import { countGivenUp, countRequest, countRestart, noteOrphans } from '../../src/metrics/optimizers.js';
import type { Settings } from '../../src/model/settings.js';
import { type RestartNowInput, settingsWarnings } from '../../src/rules/keeper-input.js';
import {
  afterContainerAnswer,
  afterSkippedRestart,
  decideKeeping,
  type GroupSettings,
  type KeeperState,
  type KeepingAction,
} from '../../src/rules/keeping.js';
import { ownPause, pausedText } from '../pauses.js';
import { rejected } from '../rejected.js';

export interface KeeperDependencies {
  readonly catalog: Catalog;
  readonly catalogId: string;
  readonly containers: Containers;
  readonly settings: Pick<Settings, 'nodeTimeoutMs'>;
  readonly log: Logger;
}

export interface CycleInput {
  readonly group: string;
  /** Names the keeper, so that what it requests is named after it and never asked for by another one. */
  readonly keeper: string;
  readonly state: KeeperState;
}

/** What a cycle left behind; counts and ids only, it goes into the history. */
export interface CycleReport {
  readonly state: KeeperState;
  readonly configuredMinParallelism: number;
  readonly effectiveMinParallelism: number;
  readonly liveThreads: number;
  readonly liveOptimizers: number;
  readonly restarted: readonly string[];
  readonly cleanedUp: readonly string[];
  readonly requested: readonly string[];
  /** Resources that their container has not started, or not released, yet, and why. */
  readonly open: readonly string[];
}

export type KeeperActivities = ReturnType<typeof createKeeperActivities>;

/** How long a container that answers PENDING is asked again within a cycle. */
const CONTAINER_WAIT_MS = 3_000;
const CONTAINER_POLL_MS = 100;
const HEARTBEAT_MS = 1_000;

/** The activities of the keeper of an optimizer group. Each may be repeated at any moment. */
export function createKeeperActivities(dependencies: KeeperDependencies) {
  const { catalog, settings, containers, log } = dependencies;
  const { nodeTimeoutMs } = settings;

  return {
    /** One cycle: lets go of silent optimizers, decides, and does it. */
    async keepGroup({ group, keeper, state }: CycleInput): Promise<CycleReport> {
      const heartbeats = setInterval(heartbeat, HEARTBEAT_MS);
      try {
        return await keepOnce(group, keeper, state);
      } finally {
        clearInterval(heartbeats);
      }
    },

    /** Sets settings of the group; answers what is allowed but probably not meant. */
    async setGroupSettings(group: string, changed: Partial<GroupSettings>): Promise<string[]> {
      if (!(await setGroupSettings(catalog, group, changed))) throw unknownGroup(group);
      const kept = await groupOrFail(group);
      const live = (await liveOptimizers(group, kept)).reduce((sum, { threads }) => sum + threads, 0);
      const warnings = settingsWarnings(kept.settings);
      if (changed.minParallelism !== undefined && changed.minParallelism < live) {
        warnings.push(
          `${live} threads run and minParallelism is ${changed.minParallelism} now: the keeper stops none of them`,
        );
      }
      for (const warning of warnings) log.warn({ group }, warning);
      return warnings;
    },

    /**
     * The launch from which an operator restarts a resource; refused while its optimizer lives. Undefined: the launch that
     * the operator saw is not the last one any more, somebody restarted it already.
     */
    async launchOfOrphan(
      group: string,
      { resourceId, launch }: RestartNowInput,
    ): Promise<number | undefined> {
      const row = await findResource(group, resourceId);
      if (row === undefined) {
        throw rejected('RESOURCE_NOT_FOUND', `resource ${resourceId}: there is none in group ${group}`);
      }
      if (launch !== undefined && row.epoch > launch) return undefined;
      if (containers.get(row.container)?.supportsAutoRestart !== true) {
        const reason = `resource ${resourceId}: its container ${row.container} restarts nothing from here`;
        throw rejected('CONTAINER_OPTS_OUT', reason);
      }
      if (row.state === 'RELEASING') {
        throw rejected('RESOURCE_RELEASING', `resource ${resourceId} is being released`);
      }
      const kept = await groupOrFail(group);
      const live = await liveOptimizers(group, kept);
      if (live.some((optimizer) => optimizer.resourceId === resourceId)) throw alive(resourceId);
      return row.epoch;
    },

    /**
     * Takes the rows of a resource away at an operator's word, without asking its container: the way out for containers
     * that opt out, are unknown, or lost with their node. Refused while its optimizer lives.
     */
    async forgetResource(group: string, resourceId: string, actor: string): Promise<void> {
      await groupOrFail(group);
      const row = await findResource(group, resourceId);
      if (row === undefined) return;
      const verdict = await beginRelease(catalog, resourceId);
      if (verdict === 'KEPT') throw alive(resourceId);
      await dropReleased(catalog, resourceId);
      log.warn(
        { group, resource: resourceId, node: row.node_id, actor },
        'resource forgotten by an operator',
      );
    },
  };

  async function keepOnce(group: string, keeper: string, before: KeeperState): Promise<CycleReport> {
    const kept = await groupOrFail(group);
    const pause = await ownPause(catalog);
    if (pause !== undefined) return heldReport(group, kept, before, pausedText(pause));
    for (const { resourceId } of await expireOptimizers(catalog, group)) {
      log.warn({ group, resource: resourceId }, 'optimizer is silent: its row is gone');
    }
    await takeGroup(catalog, group, keeper);
    const { view } = await viewGroup(catalog, group, kept, containers);
    const decision = decideKeeping(view, before);
    const done = await applyToCatalog(group, keeper, kept, before, decision.actions);
    const answers = await driveContainers(group, kept);
    let { state } = decision;
    for (const resourceId of done.skipped) state = afterSkippedRestart(state, before, resourceId);
    for (const [resourceId, { kind }] of answers) {
      if (kind !== 'OPEN') state = afterContainerAnswer(state, resourceId, kind === 'DONE');
    }
    noteOrphans(group, state, kept.settings);
    return {
      state,
      configuredMinParallelism: kept.settings.minParallelism,
      effectiveMinParallelism: decision.effectiveMinParallelism,
      liveThreads: view.optimizers.reduce((sum, { threads }) => sum + threads, 0),
      liveOptimizers: view.optimizers.length,
      restarted: done.restarted,
      cleanedUp: done.cleanedUp,
      requested: done.requested,
      open: [...answers].flatMap(([resourceId, answer]) =>
        answer.kind === 'DONE' ? [] : [`${resourceId}: ${answer.reason}`],
      ),
    };
  }

  /** A cycle that does nothing, and says why; it ends, so that Updates of the keeper are answered meanwhile. */
  async function heldReport(
    group: string,
    kept: KeptGroup,
    state: KeeperState,
    why: string,
  ): Promise<CycleReport> {
    const live = await liveOptimizers(group, kept);
    return {
      state,
      configuredMinParallelism: kept.settings.minParallelism,
      effectiveMinParallelism: kept.settings.minParallelism,
      liveThreads: live.reduce((sum, { threads }) => sum + threads, 0),
      liveOptimizers: live.length,
      restarted: [],
      cleanedUp: [],
      requested: [],
      open: [why],
    };
  }

  async function applyToCatalog(
    group: string,
    keeper: string,
    kept: KeptGroup,
    state: KeeperState,
    actions: readonly KeepingAction[],
  ) {
    const restarted: string[] = [];
    const skipped: string[] = [];
    const cleanedUp: string[] = [];
    const requested: string[] = [];
    for (const action of actions) {
      switch (action.kind) {
        case 'restart': {
          const { resourceId, fromLaunch, attempt } = action;
          const { onNodes } = await containerOf(group, resourceId);
          const verdict = await relaunchResource(catalog, resourceId, fromLaunch, { nodeTimeoutMs, onNodes });
          if (verdict === 'SKIPPED') {
            skipped.push(resourceId);
            break;
          }
          restarted.push(resourceId);
          if (verdict === 'JOINED') break;
          countRestart(group);
          log.warn(
            { group, resource: resourceId, attempt, launch: fromLaunch + 1 },
            'restarting an optimizer',
          );
          break;
        }
        case 'cleanUp': {
          const { resourceId, attempts } = action;
          if ((await beginRelease(catalog, resourceId)) !== 'RELEASING') break;
          log.warn(
            { group, resource: resourceId, attempts },
            'giving up an optimizer: releasing its resource',
          );
          countGivenUp(group);
          cleanedUp.push(resourceId);
          break;
        }
        case 'tellOptOut':
          log.warn(
            { group, resource: action.resourceId },
            action.because === 'OPTS_OUT'
              ? 'orphan is left to its container, which opts out of restarts'
              : 'orphan is left alone: its container is not configured here',
          );
          break;
        case 'request': {
          const { threadsPerOptimizer: _, memoryMbPerOptimizer: memoryMb } = kept.settings;
          const resourceId = `${group.slice(0, 32)}-${keeper}-${state.cycle}-${requested.length + 1}`;
          const onNodes = containers.get(kept.container)?.onNodes === true;
          const spec = { resourceId, group, threads: action.threads, memoryMb, keeper, actor: 'keeper' };
          if (!(await allocateResource(catalog, spec, { nodeTimeoutMs, onNodes }))) {
            log.info({ group, resource: resourceId }, 'not requested: another keeper looks after the group');
            break;
          }
          log.info({ group, resource: resourceId, threads: action.threads }, 'requesting an optimizer');
          countRequest(group);
          requested.push(resourceId);
          break;
        }
        default:
          throw new Error(`unknown action ${JSON.stringify(action satisfies never)}`);
      }
    }
    return { restarted, skipped, cleanedUp, requested };
  }

  /** Asks the containers for all that is REQUESTED or RELEASING; what is OPEN is asked for again next cycle. */
  async function driveContainers(group: string, kept: KeptGroup): Promise<Map<string, Driven>> {
    const { rows } = await viewGroup(catalog, group, kept, containers);
    const open = rows.filter(({ state }) => state !== 'STARTED');
    const answers = await Promise.all(
      open.map(async (row) => {
        const answer = await drive(row, kept);
        // What failed before and was not asked again has been told.
        if (answer.kind === 'FAILED' && (row.attempt === 1 || row.state === 'RELEASING')) {
          const { resource_id: resource, epoch: launch } = row;
          log.warn({ group, resource, launch, error: answer.reason }, 'the container did not do it');
        }
        return [row.resource_id, answer] as const;
      }),
    );
    return new Map(answers);
  }

  async function drive(found: ResourceRow, kept: KeptGroup): Promise<Driven> {
    const container = containers.get(found.container);
    if (container === undefined)
      return { kind: 'OPEN', reason: `container ${found.container} is not configured` };
    let row = found;
    if (row.state === 'REQUESTED') {
      // FAIL is final for its launch (I3): the next one is decided after a grace, and counts as an attempt.
      if (row.attempt > 1)
        return { kind: 'FAILED', reason: row.last_error ?? 'its container did not start it' };
      if (container.onNodes && row.node_id === null)
        row = await placeResource(catalog, row, { nodeTimeoutMs });
    } else if (container.onNodes && row.node_id === null) {
      // No node was ever asked for it.
      await dropReleased(catalog, row.resource_id);
      return DONE;
    }
    const node = row.node_id === null ? undefined : await findNode(catalog, row.node_id);
    if (container.onNodes && node === undefined)
      return { kind: 'OPEN', reason: 'no live node can start optimizers' };
    const place: OptimizerPlace = {
      catalogId: dependencies.catalogId,
      resourceId: row.resource_id,
      epoch: row.epoch,
      attempt: row.attempt,
      node,
    };
    try {
      return row.state === 'RELEASING'
        ? await release(container, place, row)
        : await request(container, place, row, kept);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      await recordContainerError(catalog, row, reason, false);
      return { kind: 'FAILED', reason };
    }
  }

  async function request(
    container: OptimizerContainer,
    place: OptimizerPlace,
    row: ResourceRow,
    kept: KeptGroup,
  ): Promise<Driven> {
    const launch = {
      ...place,
      group: row.group_name,
      threads: row.threads,
      memoryMb: row.memory_mb,
      properties: kept.properties,
    };
    const answer = await settled(() => container.request(launch));
    if (answer.state === 'STARTED') {
      await recordStarted(catalog, { resourceId: row.resource_id, launch: row.epoch, started: answer });
      return DONE;
    }
    const failed = answer.state === 'FAILED';
    await recordContainerError(catalog, row, answer.reason, failed);
    return { kind: failed ? 'FAILED' : 'OPEN', reason: answer.reason };
  }

  async function release(
    container: OptimizerContainer,
    place: OptimizerPlace,
    row: ResourceRow,
  ): Promise<Driven> {
    const answer = await settled(() => container.release(place));
    if (answer.state === 'RELEASED') {
      await dropReleased(catalog, row.resource_id);
      return DONE;
    }
    const failed = answer.state === 'FAILED';
    await recordContainerError(catalog, row, answer.reason, failed);
    return { kind: failed ? 'FAILED' : 'OPEN', reason: answer.reason };
  }

  async function groupOrFail(group: string): Promise<KeptGroup> {
    const kept = await findGroup(catalog, group);
    if (kept === undefined) throw unknownGroup(group);
    return kept;
  }

  async function findResource(group: string, resourceId: string): Promise<ResourceRow | undefined> {
    return catalog
      .selectFrom('optimizer_resource')
      .selectAll()
      .where('resource_id', '=', resourceId)
      .where('group_name', '=', group)
      .executeTakeFirst();
  }

  async function containerOf(group: string, resourceId: string): Promise<{ readonly onNodes: boolean }> {
    const row = await findResource(group, resourceId);
    return { onNodes: row !== undefined && containers.get(row.container)?.onNodes === true };
  }

  async function liveOptimizers(group: string, kept: KeptGroup) {
    return (await viewGroup(catalog, group, kept, containers)).view.optimizers;
  }
}

/** What a container has made of one resource. */
type Driven =
  | { readonly kind: 'DONE' }
  /** Under way, or waiting for something; its threads may still come. */
  | { readonly kind: 'OPEN'; readonly reason: string }
  /** It said no, or did not answer. */
  | { readonly kind: 'FAILED'; readonly reason: string };

const DONE: Driven = { kind: 'DONE' };

/** Asks a container again for a short while, as long as its answer is PENDING. */
async function settled<A extends { readonly state: string }>(ask: () => Promise<A>): Promise<A> {
  const until = performance.now() + CONTAINER_WAIT_MS;
  for (;;) {
    const answer = await ask();
    if (answer.state !== 'PENDING' || performance.now() >= until) return answer;
    await new Promise((resolve) => setTimeout(resolve, CONTAINER_POLL_MS));
  }
}

function unknownGroup(group: string): ApplicationFailure {
  return rejected('GROUP_NOT_FOUND', `optimizer group ${group} does not exist`);
}

function alive(resourceId: string): ApplicationFailure {
  return rejected('OPTIMIZER_ALIVE', `resource ${resourceId}: its optimizer lives`);
}
