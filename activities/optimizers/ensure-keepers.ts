import type { Catalog } from '../../src/catalog/catalog.js';
import type { Logger } from '../../src/log.js';

/** Starts the keeper of a group, or finds it running. Resolves with whether it was started now. */
export type StartKeeper = (group: string) => Promise<boolean>;

export interface EnsureKeepersDependencies {
  readonly catalog: Catalog;
  readonly startKeeper: StartKeeper;
  readonly log: Logger;
}

export type EnsureKeepersActivities = ReturnType<typeof createEnsureKeepersActivities>;

export function createEnsureKeepersActivities({ catalog, startKeeper, log }: EnsureKeepersDependencies) {
  return {
    /** Starts the keepers that are missing; answers the groups that had none. */
    async ensureKeepers(): Promise<string[]> {
      const groups = await catalog.selectFrom('optimizer_group').select('name').orderBy('name').execute();
      const started: string[] = [];
      for (const { name } of groups) {
        if (!(await startKeeper(name))) continue;
        log.warn({ group: name }, 'the optimizer group had no keeper: started one');
        started.push(name);
      }
      return started;
    },
  };
}
