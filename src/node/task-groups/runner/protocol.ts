import type { FileFormat, TaskGroupCheckpoint, TaskGroupSource } from '../../operation.js';

/** All that a runner has to know of a task group. */
export interface PipelineSpec {
  readonly source: TaskGroupSource;
  /** SELECT over the table `source`; empty: everything as it is. */
  readonly transform: string;
  readonly format: FileFormat;
  readonly parallelism: number;
  /** Missing: only one checkpoint, at the end. */
  readonly checkpointIntervalMs?: number;
  /** The checkpoint to go on from. */
  readonly restore?: TaskGroupCheckpoint;
  /** The sink; exists. */
  readonly directory: string;
  /** Where parts are staged, relative to the sink; exists. */
  readonly staging: string;
  /** What the names of published parts start with; unique for the execution. */
  readonly prefix: string;
  /** A directory of the runner's own for what it needs while it works; made and removed by it. */
  readonly scratch: string;
}

/** What a node tells a runner. */
export type ToRunner =
  | { readonly type: 'run'; readonly spec: PipelineSpec }
  /** The checkpoint that was staged last is committed and published: go on. */
  | { readonly type: 'committed' }
  /** Stage a last checkpoint as soon as the batches under way are done, and end. */
  | { readonly type: 'savepoint' };

/** What a runner tells its node. A checkpoint that is staged holds the pipeline until `committed` comes. */
export type FromRunner =
  | { readonly type: 'progress'; readonly rowsIn: number; readonly rowsOut: number }
  | { readonly type: 'staged'; readonly checkpoint: TaskGroupCheckpoint; readonly last: Last }
  | { readonly type: 'ended'; readonly error?: string };

/** Why nothing follows a checkpoint; undefined when something does. */
export type Last = 'end-of-source' | 'savepoint' | undefined;
