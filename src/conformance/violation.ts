/** The node broke the rule of a check. */
export class Violation extends Error {
  override readonly name = 'Violation';

  constructor(
    /** What a node that keeps the rule would have done. */
    readonly expected: string,
    /** What this one did. */
    readonly found: string,
    /** A message of the node, or the error of a call, that shows it; the last call of the check when there is none. */
    readonly evidence?: object,
  ) {
    super(`expected ${expected}, found ${found}`);
  }
}

/** Throws a Violation unless the condition holds. */
export function demand(
  holds: boolean,
  expected: string,
  found: string | (() => string),
  evidence?: object,
): asserts holds {
  if (!holds) throw new Violation(expected, typeof found === 'string' ? found : found(), evidence);
}

/** Throws a Violation unless both read the same as JSON. */
export function demandSame(
  found: unknown,
  expected: unknown,
  what: string,
  evidence?: object,
): asserts found is unknown {
  const [was, should] = [JSON.stringify(found), JSON.stringify(expected)];
  demand(was === should, `${what}: ${should}`, was ?? 'nothing', evidence);
}
