import type { Probe } from './probe.js';

/** The kit was told how to restart the node; the other things that a check needs are capabilities of the node. */
export const RESTART = 'restart';

/**
 * One thing that a node must do, found out from outside. Checks know nothing of each other: each works on a catalog id of
 * its own, so that they run next to each other, and again and again on the same node.
 */
export interface Check {
  /** `<group>/<what is right>` */
  readonly name: string;
  readonly group: string;
  /** What the contract says, in one line, with the number of the rule (docs/design.md) where it has one. */
  readonly rule: string;
  /** Capabilities of the node as GetNodeInfo tells them, and {@link RESTART}. The check is skipped without them. */
  readonly needs: readonly string[];
  /** Resolves when the node keeps the rule; throws a Violation or the error of a call when it does not. */
  readonly run: (probe: Probe) => Promise<void>;
}

/** A check as its group writes it down. */
export interface GroupEntry {
  readonly rule: string;
  /** In addition to what the whole group needs. */
  readonly needs?: readonly string[];
  readonly run: (probe: Probe) => Promise<void>;
}

/** Names the checks of a group, in their order. */
export function group(
  name: string,
  needs: readonly string[],
  entries: Readonly<Record<string, GroupEntry>>,
): readonly Check[] {
  return Object.entries(entries).map(([what, { rule, run, needs: more = [] }]) => ({
    name: `${name}/${what}`,
    group: name,
    rule,
    needs: [...new Set([...needs, ...more])],
    run,
  }));
}
