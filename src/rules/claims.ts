import type { RegionWorkflow } from './words.js';

/**
 * What a claim finds on a row (I5). `OTHER` says whether the workflow of the holder is still open, asked by describing
 * it, never by a listing.
 */
export type FoundHolder =
  | { readonly kind: 'NOBODY' }
  | { readonly kind: 'SELF' }
  /** The holder that the claim is handed over from, or driven on for. */
  | { readonly kind: 'PREDECESSOR'; readonly workflowType: RegionWorkflow }
  | { readonly kind: 'OTHER'; readonly workflowType: RegionWorkflow; readonly open: boolean };

export type ClaimVerdict =
  /** Take the row, raise its epoch. `supersedes`: its holder learns of it at its next step. */
  | { readonly kind: 'TAKE'; readonly supersedes: boolean }
  /** Take the row with the epoch it has, and so join the operations that run. */
  | { readonly kind: 'CONTINUE' }
  /** The row is held already by this very workflow. */
  | { readonly kind: 'HELD_BY_SELF' }
  | { readonly kind: 'REFUSED' };

const RANK: Record<RegionWorkflow, number> = {
  createRegionGroups: 1,
  recreateMissingReplicas: 1,
  removeRegionGroups: 2,
  deleteDatabase: 3,
};

/** Who may take a row (I5): deleteDatabase over removal over creation and recreation; the claim of a closed workflow goes on. */
export function judgeClaim(wanted: RegionWorkflow, found: FoundHolder): ClaimVerdict {
  switch (found.kind) {
    case 'NOBODY':
      return { kind: 'TAKE', supersedes: false };
    case 'SELF':
      return { kind: 'HELD_BY_SELF' };
    case 'PREDECESSOR':
      return wanted === found.workflowType ? { kind: 'CONTINUE' } : { kind: 'TAKE', supersedes: false };
    case 'OTHER':
      if (found.open) {
        return RANK[wanted] > RANK[found.workflowType]
          ? { kind: 'TAKE', supersedes: true }
          : { kind: 'REFUSED' };
      }
      return wanted === found.workflowType ? { kind: 'CONTINUE' } : { kind: 'TAKE', supersedes: true };
  }
}
