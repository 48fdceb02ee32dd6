import type { ApplicationFailure } from '@temporalio/common';
import type { Catalog } from '../../src/catalog/catalog.js';
import { keptResource, liveOptimizers, setGroupSettings } from '../../src/catalog/optimizers/keeping.js';
import { beginRelease, dropReleased, findResource } from '../../src/catalog/optimizers/resources.js';
import type { Containers } from '../../src/engines/containers.js';
import type { Logger } from '../../src/log.js';
import { type RestartNowInput, settingsWarnings } from '../../src/rules/keeper-input.js';
import { type GroupSettings, threadsOf } from '../../src/rules/keeping.js';
import { judgeRestartNow } from '../../src/rules/orphans.js';
import { rejected } from '../rejected.js';
import { requireGroup, unknownGroup } from './known-group.js';

export interface KeeperUpdateDependencies {
  readonly catalog: Catalog;
  readonly containers: Containers;
  readonly log: Logger;
}

export type KeeperUpdateActivities = ReturnType<typeof createKeeperUpdateActivities>;

/** What an operator's Updates of a keeper do in the catalog. Each may be repeated at any moment. */
export function createKeeperUpdateActivities({ catalog, containers, log }: KeeperUpdateDependencies) {
  return {
    /** Sets settings of the group; answers what is allowed but probably not meant. */
    async setGroupSettings(group: string, changed: Partial<GroupSettings>): Promise<string[]> {
      if (!(await setGroupSettings(catalog, group, changed))) throw unknownGroup(group);
      const { settings } = await requireGroup(catalog, group);
      const live = threadsOf(await liveOptimizers(catalog, group));
      const warnings = settingsWarnings(settings);
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
      const row = await findResource(catalog, group, resourceId);
      if (row === undefined) {
        throw rejected('RESOURCE_NOT_FOUND', `resource ${resourceId}: there is none in group ${group}`);
      }
      const live = await liveOptimizers(catalog, group);
      const isAlive = live.some((optimizer) => optimizer.resourceId === resourceId);
      const verdict = judgeRestartNow(keptResource(row, containers), launch, isAlive);
      switch (verdict.kind) {
        case 'RESTART':
          return verdict.fromLaunch;
        case 'RESTARTED':
          return undefined;
        case 'OPTS_OUT': {
          const reason = `resource ${resourceId}: its container ${row.container} restarts nothing from here`;
          throw rejected('CONTAINER_OPTS_OUT', reason);
        }
        case 'RELEASING':
          throw rejected('RESOURCE_RELEASING', `resource ${resourceId} is being released`);
        case 'ALIVE':
          throw alive(resourceId);
      }
    },

    /**
     * Takes the rows of a resource away at an operator's word, without asking its container: the way out for containers
     * that opt out, are unknown, or lost with their node. Refused while its optimizer lives.
     */
    async forgetResource(group: string, resourceId: string, actor: string): Promise<void> {
      await requireGroup(catalog, group);
      const row = await findResource(catalog, group, resourceId);
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
}

function alive(resourceId: string): ApplicationFailure {
  return rejected('OPTIMIZER_ALIVE', `resource ${resourceId}: its optimizer lives`);
}
