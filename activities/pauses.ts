import { activityInfo } from '@temporalio/activity';
import type { Catalog } from '../src/catalog/catalog.js';
import { type Pause, pauseOf } from '../src/catalog/pauses.js';
import { notReady } from './not-ready.js';

/** How soon a resumption is noticed. */
export const PAUSED_RETRY_MS = 1_000;

/** As a blocker, wherever one is shown (I8). */
export function pausedText({ operationId, actor, reason }: Pause): string {
  return `PAUSED${operationId === '' ? ' with everything' : ''} by ${actor}: ${reason}`;
}

/** What pauses the operation that this activity belongs to. */
export function ownPause(catalog: Catalog): Promise<Pause | undefined> {
  return pauseOf(catalog, activityInfo().workflowExecution?.workflowId ?? '');
}

/** Fails with `NotReady` while the operation is paused, so that it is asked again until it is resumed. */
export async function holdWhilePaused(catalog: Catalog, what: string): Promise<void> {
  const pause = await ownPause(catalog);
  if (pause !== undefined) throw notReady(`${what}: BLOCKED: ${pausedText(pause)}`, PAUSED_RETRY_MS);
}
