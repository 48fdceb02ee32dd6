/** The words of docs/design.md that rules, catalog and workflows share. */

export type RegionKind = 'SCHEMA' | 'DATA';

/** How much of a table a process rewrites: its small files, its undersized files, everything. */
export type OptimizingKind = 'MINOR' | 'MAJOR' | 'FULL';

/** An optimizing process and its table. */
export interface ProcessRef {
  readonly processId: number;
  readonly tableId: number;
  readonly table: string;
}

/** A workflow as the holder of a claim: its id and the first run of its chain, so that a retried claim finds itself. */
export interface HolderRef {
  readonly workflowId: string;
  readonly firstRunId: string;
}

/** The workflows that claim regions. */
export type RegionWorkflow =
  | 'createRegionGroups'
  | 'recreateMissingReplicas'
  | 'removeRegionGroups'
  | 'deleteDatabase';

/** The workflows that hold something others may be refused because of. A job's first run id is the owner of its rows. */
export type HoldingWorkflow = RegionWorkflow | 'runJob';

/** A holder as people are told of it. */
export interface Holder extends HolderRef {
  readonly workflowType: HoldingWorkflow;
  readonly actor: string;
  /** ISO 8601, by the catalog's clock. */
  readonly since: string;
}

/** StewardPhase of a heal that healed something. */
export const HEALED = 'HEALED';

/** Who acts when a schedule starts something. */
export const SCHEDULE_ACTOR = 'schedule';
