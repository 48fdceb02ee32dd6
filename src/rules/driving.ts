/**
 * Driving resources: what is done about one that its container has not started, or not released, yet, decided from values
 * alone.
 */

/** A resource that is not at rest. */
export interface OpenResource {
  readonly state: 'REQUESTED' | 'RELEASING';
  readonly isPlaced: boolean;
  /** Of its launch; above 1: its container said no. */
  readonly attempt: number;
  readonly lastError: string | null;
}

/** What has become of a resource that was driven. */
export type Driven =
  | { readonly kind: 'DONE' }
  /** Under way, or waiting for something; its threads may still come. */
  | { readonly kind: 'OPEN'; readonly reason: string }
  /** Its container said no, or did not answer. */
  | { readonly kind: 'FAILED'; readonly reason: string };

export type DrivingStep =
  /** Its container is asked to start it. */
  | { readonly kind: 'REQUEST' }
  /** The same, once it has a place on a node. */
  | { readonly kind: 'PLACE' }
  /** Its container is asked to let it go. */
  | { readonly kind: 'RELEASE' }
  /** No node was ever asked for it: its rows just go. */
  | { readonly kind: 'DROP' }
  /** It is not asked for again under this launch. */
  | { readonly kind: 'LEAVE'; readonly reason: string };

/**
 * The next step of a resource in its container. FAIL is final for its launch (I3): the next one is decided after a grace, and
 * counts as an attempt.
 */
export function drivingStep(
  { state, isPlaced, attempt, lastError }: OpenResource,
  { onNodes }: { readonly onNodes: boolean },
): DrivingStep {
  const lacksPlace = onNodes && !isPlaced;
  if (state === 'RELEASING') return { kind: lacksPlace ? 'DROP' : 'RELEASE' };
  if (attempt > 1) return { kind: 'LEAVE', reason: lastError ?? 'its container did not start it' };
  return { kind: lacksPlace ? 'PLACE' : 'REQUEST' };
}
