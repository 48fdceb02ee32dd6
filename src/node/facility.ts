import type { FailCode, NodeRequest, Progress, ResourceStarted } from './operation.js';
import type { LiveOperation } from './resource-queues.js';

/** What an effect hears and tells while it works. */
export interface EffectContext {
  /** Fencing epoch of the operation. */
  readonly epoch: number;
  /**
   * Aborted when the operation is canceled or the node stops. The effect then leaves things as they were before it, or,
   * for what takes something away, in a state from which it goes on after a restart, and throws the reason.
   */
  readonly signal: AbortSignal;
  /** What was told before a restart; progress starts here and never steps back. */
  readonly progress: Progress;
  report(progress: Progress): void;
  /** Called once in the middle of the effect, at its most awkward point; faults wait here. */
  midway(): Promise<void>;
}

/** A change that could not be made; ends the operation as FAIL with this code. */
export class EffectError extends Error {
  override readonly name = 'EffectError';

  constructor(
    readonly code: FailCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** A part of the node that carries out the operations of some verbs: regions, optimizer resources, task groups. */
export interface Facility<Request extends NodeRequest = NodeRequest> {
  /** As GetNodeInfo tells it. */
  readonly capability: 'regions' | 'resources' | 'task-groups';
  /** Does what is asked; throws EffectError for what could not be done. */
  perform(request: Request, context: EffectContext): Promise<ResourceStarted | undefined>;
  /**
   * Settles what a stop or crash left behind, before the node serves. `pending` are this facility's operations that were
   * not over, in the order of acceptance. Answers those that cannot go on; all others are performed (again).
   */
  recover(pending: readonly LiveOperation[]): Promise<Recovered>;
  /** Ends what works in the background, at the orderly end of the node. */
  stop(): Promise<void>;
}

export interface Recovered {
  /** Cut short, and not to be repeated: they end as FAIL(INTERRUPTED) with this message. */
  readonly interrupted: readonly { readonly operation: LiveOperation; readonly message: string }[];
  /** What was found and settled, by name; for the log. */
  readonly settled: Readonly<Record<string, number>>;
}
