/** Which build of the worker Temporal gives work to. */

/** A build of the worker, and the deployment whose builds follow one another. */
export interface WorkerBuild {
  readonly deployment: string;
  readonly buildId: string;
}

/** The builds of a deployment. */
export interface KnownBuilds {
  /** The one that is given work; undefined: none is. */
  readonly current: string | undefined;
  /** All that ever asked for work, in the order in which they first did. */
  readonly known: readonly string[];
  /** Those that a living worker is of. */
  readonly living: readonly string[];
}

/** FIRST: nothing is current; ABANDONED: what is current has no worker left. */
export type Succession = 'FIRST' | 'ABANDONED';

/**
 * Whether a worker makes its own build the current one: when work would wait otherwise, and of several builds that live
 * the newest does. As long as the current build has a worker, only an operator changes it.
 */
export function succession(own: string, { current, known, living }: KnownBuilds): Succession | undefined {
  if (current === own) return undefined;
  if (current !== undefined && living.includes(current)) return undefined;
  const newest = known.filter((build) => build === own || living.includes(build)).at(-1);
  if (newest !== own) return undefined;
  return current === undefined ? 'FIRST' : 'ABANDONED';
}

/** The last worker of a build that is restarted is back by then. */
const ABANDONED_LOOKS = 3;

/** Whether a look is acted upon, and how many in a row, this one included, found the current build abandoned. */
export function patience(
  looksBefore: number,
  because: Succession | undefined,
): { readonly looks: number; readonly acts: boolean } {
  const looks = because === 'ABANDONED' ? looksBefore + 1 : 0;
  return { looks, acts: because === 'FIRST' || looks >= ABANDONED_LOOKS };
}
