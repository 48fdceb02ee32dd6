import type { EngineNode } from './nodes.js';
import type { StartedResource } from './optimizers.js';

/**
 * The port to what starts optimizer processes. Every call is idempotent by resource id and launch, and may be repeated;
 * a call that throws says nothing about the process. To add one: implement this, and name its module in
 * `STEWARD_CONTAINERS` (docs/optimizers.md).
 */
export interface OptimizerContainer {
  /** False: something else keeps its optimizers alive (Kubernetes, Flink, Spark); an orphan is left to that. */
  readonly supportsAutoRestart: boolean;
  /** False: nothing is ever requested from it, somebody else starts its optimizers. */
  readonly startsOptimizers: boolean;
  /** Whether its optimizers run on nodes of the cluster, so that a place on one is chosen for them. */
  readonly onNodes: boolean;
  /** Starts the process of this launch; one of an older launch is ended first. */
  request(launch: OptimizerLaunch): Promise<LaunchAnswer>;
  /** Ends the process, whatever its launch, and forgets it. One that was never there is RELEASED as well. */
  release(place: OptimizerPlace): Promise<ReleaseAnswer>;
}

export interface OptimizerPlace {
  /** UUID of the catalog that knows the resource. */
  readonly catalogId: string;
  readonly resourceId: string;
  /** Number of the launch; for a release the number after the last launch. */
  readonly epoch: number;
  /** Raised after FAILED under the same epoch. */
  readonly attempt: number;
  /** Where it was placed; undefined for a container that is not on nodes. */
  readonly node: EngineNode | undefined;
}

export interface OptimizerLaunch extends OptimizerPlace {
  readonly group: string;
  readonly threads: number;
  readonly memoryMb: number;
  /** Of the group, and of the resource. */
  readonly properties: Readonly<Record<string, string>>;
}

export type LaunchAnswer =
  | ({ readonly state: 'STARTED' } & StartedResource)
  /** Accepted or waiting; ask again. */
  | { readonly state: 'PENDING'; readonly reason: string }
  /** This launch is over, and nothing of it runs; the next one is asked for after a grace. */
  | { readonly state: 'FAILED'; readonly reason: string };

export type ReleaseAnswer =
  | { readonly state: 'RELEASED' }
  | { readonly state: 'PENDING'; readonly reason: string }
  | { readonly state: 'FAILED'; readonly reason: string };

/** The containers that are configured, by name. */
export type Containers = ReadonlyMap<string, OptimizerContainer>;

/** Someone else starts the optimizers; they register by themselves, and nothing here restarts them. */
export const externalContainer: OptimizerContainer = {
  supportsAutoRestart: false,
  startsOptimizers: false,
  onNodes: false,
  request: async () => ({
    state: 'FAILED',
    reason: 'optimizers of an external container start by themselves',
  }),
  release: async () => ({ state: 'RELEASED' }),
};
