import type { CreationResult, Ended, OperationHandle, RegionKind, StewardClient } from '../client/index.js';
import { counted } from '../rules/counted.js';
import type { PlannedRegionGroup } from './documents.js';

/** The region groups that a database gets with its creation. */
export interface InitialGroups {
  readonly dataGroups: number;
  readonly schemaGroups: number;
  readonly replicationFactor: number;
}

export interface StartedCreation {
  /** For the live line. */
  readonly label: string;
  readonly kind: RegionKind;
  readonly handle: OperationHandle<Ended<CreationResult>>;
}

/** Where they would be now, in a database that is yet to be made. Throws StewardError when that is not possible. */
export async function planInitialGroups(
  client: StewardClient,
  initial: InitialGroups,
): Promise<PlannedRegionGroup[]> {
  const { replicationFactor } = initial;
  const planned = await Promise.all(
    kindsOf(initial).map(async ({ kind, groups }) => {
      const { placements } = await client.regionGroups.plan({ kind, groups, replicationFactor });
      return placements.map((nodes) => ({ kind, nodes }));
    }),
  );
  return planned.flat();
}

/** Starts their creation under request names of their own, so that asking again creates nothing twice. */
export async function startInitialGroups(
  client: StewardClient,
  database: string,
  initial: InitialGroups,
): Promise<StartedCreation[]> {
  const { replicationFactor } = initial;
  return Promise.all(
    kindsOf(initial).map(async ({ kind, groups }) => ({
      label: `creating ${counted(groups, `${kind} region group`)} in ${database}`,
      kind,
      handle: await client.regionGroups.create({
        database,
        kind,
        groups,
        replicationFactor,
        request: `initial-${kind.toLowerCase()}`,
      }),
    })),
  );
}

function kindsOf({ dataGroups, schemaGroups }: InitialGroups): { kind: RegionKind; groups: number }[] {
  const wanted = [
    { kind: 'SCHEMA' as const, groups: schemaGroups },
    { kind: 'DATA' as const, groups: dataGroups },
  ];
  return wanted.filter(({ groups }) => groups > 0);
}
