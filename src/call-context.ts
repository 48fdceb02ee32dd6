import { AsyncLocalStorage } from 'node:async_hooks';

/** On whose behalf something runs: on every line that is logged meanwhile, and told to the nodes that are called. */
export interface CallContext {
  readonly workflowId: string;
  readonly workflowType?: string;
  readonly runId?: string;
  readonly activity?: string;
  readonly activityAttempt?: number;
  readonly actor?: string;
  readonly node?: string;
}

const storage = new AsyncLocalStorage<CallContext | undefined>();

/** Undefined: nobody's, such as the housekeeping of a process. */
export function callContext(): CallContext | undefined {
  return storage.getStore();
}

/** Runs work, and all that it starts, on that behalf; on nobody's when it is undefined. */
export function onBehalfOf<T>(context: CallContext | undefined, work: () => T): T {
  return storage.run(context, work);
}
