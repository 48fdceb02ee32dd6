import type { Catalog } from '../../src/catalog/catalog.js';
import type { KeptGroup } from '../../src/catalog/optimizers/keeping.js';
import {
  allocateResource,
  beginRelease,
  findResource,
  relaunchResource,
} from '../../src/catalog/optimizers/resources.js';
import type { Containers } from '../../src/engines/containers.js';
import type { Logger } from '../../src/log.js';
import { countGivenUp, countRequest, countRestart } from '../../src/metrics/optimizers.js';
import type { Settings } from '../../src/model/settings.js';
import { type KeeperState, type KeepingAction, requestId } from '../../src/rules/keeping.js';

export interface CarryOutDependencies {
  readonly catalog: Catalog;
  readonly containers: Containers;
  readonly settings: Pick<Settings, 'nodeTimeoutMs'>;
  readonly log: Logger;
}

/** The cycle whose decision is carried out. */
export interface DecidedCycle {
  readonly group: string;
  readonly keeper: string;
  readonly kept: KeptGroup;
  /** The state that it was decided from. */
  readonly before: KeeperState;
}

/** Ids of the resources that the actions of a cycle were about, by what came of them. */
export interface CarriedOut {
  readonly restarted: readonly string[];
  /** To be restarted, and not: its optimizer lives, or another launch came in between. */
  readonly skipped: readonly string[];
  readonly cleanedUp: readonly string[];
  readonly requested: readonly string[];
}

/**
 * Writes what a cycle decided into the catalog, one action after the other, each in its own transaction. No container is asked
 * yet. Doing it again does nothing twice: launches and ids are in the decision.
 */
export async function carryOut(
  { catalog, containers, settings: { nodeTimeoutMs }, log }: CarryOutDependencies,
  { group, keeper, kept, before }: DecidedCycle,
  actions: readonly KeepingAction[],
): Promise<CarriedOut> {
  const restarted: string[] = [];
  const skipped: string[] = [];
  const cleanedUp: string[] = [];
  const requested: string[] = [];
  for (const action of actions) {
    switch (action.kind) {
      case 'restart':
        if (await restart(action)) restarted.push(action.resourceId);
        else skipped.push(action.resourceId);
        break;
      case 'cleanUp':
        if (await cleanUp(action)) cleanedUp.push(action.resourceId);
        break;
      case 'tellOptOut':
        tellOptOut(action);
        break;
      case 'request': {
        const resourceId = requestId(group, keeper, before, requested.length + 1);
        if (await request(resourceId, action.threads)) requested.push(resourceId);
        break;
      }
      default:
        throw new Error(`unknown action ${JSON.stringify(action satisfies never)}`);
    }
  }
  return { restarted, skipped, cleanedUp, requested };

  async function restart({ resourceId, fromLaunch, attempt }: ActionOf<'restart'>): Promise<boolean> {
    const row = await findResource(catalog, group, resourceId);
    const placing = { nodeTimeoutMs, onNodes: row !== undefined && isOnNodes(row.container) };
    const verdict = await relaunchResource(catalog, resourceId, fromLaunch, placing);
    if (verdict === 'LAUNCHED') {
      countRestart(group);
      const launch = fromLaunch + 1;
      log.warn({ group, resource: resourceId, attempt, launch }, 'restarting an optimizer');
    }
    return verdict !== 'SKIPPED';
  }

  async function cleanUp({ resourceId, attempts }: ActionOf<'cleanUp'>): Promise<boolean> {
    if ((await beginRelease(catalog, resourceId)) !== 'RELEASING') return false;
    log.warn({ group, resource: resourceId, attempts }, 'giving up an optimizer: releasing its resource');
    countGivenUp(group);
    return true;
  }

  function tellOptOut({ resourceId, because }: ActionOf<'tellOptOut'>): void {
    log.warn(
      { group, resource: resourceId },
      because === 'OPTS_OUT'
        ? 'orphan is left to its container, which opts out of restarts'
        : 'orphan is left alone: its container is not configured here',
    );
  }

  async function request(resourceId: string, threads: number): Promise<boolean> {
    const { memoryMbPerOptimizer: memoryMb } = kept.settings;
    const spec = { resourceId, group, threads, memoryMb, keeper, actor: 'keeper' };
    const placing = { nodeTimeoutMs, onNodes: isOnNodes(kept.container) };
    if (!(await allocateResource(catalog, spec, placing))) {
      log.info({ group, resource: resourceId }, 'not requested: another keeper looks after the group');
      return false;
    }
    log.info({ group, resource: resourceId, threads }, 'requesting an optimizer');
    countRequest(group);
    return true;
  }

  function isOnNodes(container: string): boolean {
    return containers.get(container)?.onNodes === true;
  }
}

type ActionOf<Kind extends KeepingAction['kind']> = Extract<KeepingAction, { readonly kind: Kind }>;
