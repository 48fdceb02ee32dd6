import { ApplicationFailure } from '@temporalio/common';
import type { Catalog } from '../src/catalog/catalog.js';
import { findNode } from '../src/catalog/nodes.js';
import {
  expireOptimizers,
  findGroup,
  type KeptGroup,
  setGroupSettings,
  viewGroup,
} from '../src/catalog/optimizers/keeping.js';
import {
  allocateResource,
  beginRelease,
  dropReleased,
  type ResourceRow,
  recordContainerError,
  recordStarted,
  relaunchResource,
} from '../src/catalog/optimizers/resources.js';
import type { Containers, OptimizerContainer, OptimizerPlace } from '../src/engines/containers.js';
import type { Logger } from '../src/log.js';
import type { Settings } from '../src/model/settings.js';
import { settingsWarnings } from '../src/rules/keeper-input.js';
import {
  afterFailedRestart,
  decideKeeping,
  type GroupSettings,
  type KeeperState,
  type KeepingAction,
} from '../src/rules/keeping.js';

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

/** The activities of the keeper of an optimizer group. Each may be repeated at any moment. */
export function createKeeperActivities(dependencies: KeeperDependencies) {
  const { catalog, settings, containers, log } = dependencies;
  const { nodeTimeoutMs } = settings;

  return {
    /** One cycle: lets go of silent optimizers, decides, and does it. */
    async keepGroup({ group, keeper, state }: CycleInput): Promise<CycleReport> {
      const kept = await groupOrFail(group);
      const { heartbeatTimeoutMs } = kept.settings;
      for (const { resourceId } of await expireOptimizers(catalog, group, heartbeatTimeoutMs)) {
        log.warn({ group, resource: resourceId }, 'optimizer is silent: its row is gone');
      }
      const { view } = await viewGroup(catalog, group, kept.settings, containers);
      const decision = decideKeeping(view, state);
      const asked = await applyToCatalog(group, keeper, kept, state, decision.actions);
      const outcome = await driveContainers(group, kept);
      let next = decision.state;
      for (const { resourceId } of asked.restarts) {
        const failure = outcome.failures.get(resourceId);
        if (failure === undefined) continue;
        log.warn(
          { group, resource: resourceId, error: failure },
          'the container did not restart the optimizer',
        );
        next = afterFailedRestart(next, resourceId);
      }
      return {
        state: next,
        configuredMinParallelism: kept.settings.minParallelism,
        effectiveMinParallelism: decision.effectiveMinParallelism,
        liveThreads: view.optimizers.reduce((sum, { threads }) => sum + threads, 0),
        liveOptimizers: view.optimizers.length,
        restarted: asked.restarts.map(({ resourceId }) => resourceId),
        cleanedUp: asked.cleanedUp,
        requested: asked.requested,
        open: [...outcome.failures].map(([resourceId, reason]) => `${resourceId}: ${reason}`),
      };
    },

    /** Sets settings of the group; answers what is allowed but probably not meant. */
    async setGroupSettings(group: string, changed: Partial<GroupSettings>): Promise<string[]> {
      if (!(await setGroupSettings(catalog, group, changed))) throw unknownGroup(group);
      const { settings: all } = await groupOrFail(group);
      const live = await liveThreads(group, all);
      const warnings = settingsWarnings(all);
      if (changed.minParallelism !== undefined && changed.minParallelism < live) {
        warnings.push(
          `${live} threads run and minParallelism is ${changed.minParallelism} now: the keeper stops none of them`,
        );
      }
      for (const warning of warnings) log.warn({ group }, warning);
      return warnings;
    },

    /** The launch from which an operator restarts a resource; refused while its optimizer lives. */
    async launchOfOrphan(group: string, resourceId: string): Promise<number> {
      const row = await resourceOrFail(group, resourceId);
      const kept = await groupOrFail(group);
      if (containers.get(row.container)?.supportsAutoRestart !== true) {
        throw refused(`resource ${resourceId}: its container ${row.container} restarts nothing from here`);
      }
      const { view } = await viewGroup(catalog, group, kept.settings, containers);
      if (view.optimizers.some((optimizer) => optimizer.resourceId === resourceId)) {
        throw refused(`resource ${resourceId}: its optimizer lives`);
      }
      return row.epoch;
    },

    /**
     * Takes the rows of a resource away at an operator's word, without asking its container: the way out for containers
     * that opt out, are unknown, or lost with their node. Refused while its optimizer lives.
     */
    async forgetResource(group: string, resourceId: string, actor: string): Promise<void> {
      const kept = await groupOrFail(group);
      const row = await findResource(group, resourceId);
      if (row === undefined) return;
      const verdict = await beginRelease(catalog, resourceId, kept.settings.heartbeatTimeoutMs);
      if (verdict === 'KEPT') throw refused(`resource ${resourceId}: its optimizer lives`);
      await dropReleased(catalog, resourceId);
      log.warn(
        { group, resource: resourceId, node: row.node_id, actor },
        'resource forgotten by an operator',
      );
    },
  };

  async function applyToCatalog(
    group: string,
    keeper: string,
    kept: KeptGroup,
    state: KeeperState,
    actions: readonly KeepingAction[],
  ) {
    const restarts: { readonly resourceId: string }[] = [];
    const cleanedUp: string[] = [];
    const requested: string[] = [];
    const placing = { nodeTimeoutMs, heartbeatTimeoutMs: kept.settings.heartbeatTimeoutMs };
    for (const action of actions) {
      switch (action.kind) {
        case 'restart': {
          const { resourceId, fromLaunch, attempt } = action;
          const { onNodes } = await containerOf(group, resourceId);
          if (!(await relaunchResource(catalog, resourceId, fromLaunch, { ...placing, onNodes }))) break;
          log.warn(
            { group, resource: resourceId, attempt, launch: fromLaunch + 1 },
            'restarting an optimizer',
          );
          restarts.push({ resourceId });
          break;
        }
        case 'cleanUp': {
          const { resourceId, attempts } = action;
          if ((await beginRelease(catalog, resourceId, placing.heartbeatTimeoutMs)) !== 'RELEASING') break;
          log.warn(
            { group, resource: resourceId, attempts },
            'giving up an optimizer: releasing its resource',
          );
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
          const spec = { resourceId, group, threads: action.threads, memoryMb, actor: 'keeper' };
          await allocateResource(catalog, spec, { nodeTimeoutMs, onNodes });
          log.info({ group, resource: resourceId, threads: action.threads }, 'requesting an optimizer');
          requested.push(resourceId);
          break;
        }
        default:
          throw new Error(`unknown action ${JSON.stringify(action satisfies never)}`);
      }
    }
    return { restarts, cleanedUp, requested };
  }

  /** Asks the containers for all that is REQUESTED or RELEASING; what is not done is asked for again next cycle. */
  async function driveContainers(group: string, kept: KeptGroup) {
    const { rows } = await viewGroup(catalog, group, kept.settings, containers);
    const failures = new Map<string, string>();
    const open = rows.filter(({ state }) => state !== 'STARTED');
    await Promise.all(
      open.map(async (row) => {
        const failure = await drive(row, kept);
        if (failure !== undefined) failures.set(row.resource_id, failure);
      }),
    );
    return { failures };
  }

  /** Undefined when the container has done it, else why not. */
  async function drive(row: ResourceRow, kept: KeptGroup): Promise<string | undefined> {
    const container = containers.get(row.container);
    if (container === undefined) return `container ${row.container} is not configured`;
    const node = row.node_id === null ? undefined : await findNode(catalog, row.node_id);
    if (container.onNodes && node === undefined) return 'no live node can start optimizers';
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
      return reason;
    }
  }

  async function request(
    container: OptimizerContainer,
    place: OptimizerPlace,
    row: ResourceRow,
    kept: KeptGroup,
  ): Promise<string | undefined> {
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
      return undefined;
    }
    await recordContainerError(catalog, row, answer.reason, answer.state === 'FAILED');
    return answer.reason;
  }

  async function release(
    container: OptimizerContainer,
    place: OptimizerPlace,
    row: ResourceRow,
  ): Promise<string | undefined> {
    const answer = await settled(() => container.release(place));
    if (answer.state === 'RELEASED') {
      await dropReleased(catalog, row.resource_id);
      return undefined;
    }
    await recordContainerError(catalog, row, answer.reason, answer.state === 'FAILED');
    return answer.reason;
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

  async function resourceOrFail(group: string, resourceId: string): Promise<ResourceRow> {
    const row = await findResource(group, resourceId);
    if (row === undefined) throw refused(`resource ${resourceId}: there is none in group ${group}`);
    return row;
  }

  async function containerOf(group: string, resourceId: string): Promise<{ readonly onNodes: boolean }> {
    const row = await findResource(group, resourceId);
    return { onNodes: row !== undefined && containers.get(row.container)?.onNodes === true };
  }

  async function liveThreads(group: string, all: GroupSettings): Promise<number> {
    const { view } = await viewGroup(catalog, group, all, containers);
    return view.optimizers.reduce((sum, { threads }) => sum + threads, 0);
  }
}

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
  return ApplicationFailure.nonRetryable(
    `there is no optimizer group ${group}`,
    'Rejected',
    'GROUP_NOT_FOUND',
  );
}

function refused(message: string): ApplicationFailure {
  return ApplicationFailure.nonRetryable(message, 'Rejected', 'REFUSED');
}
