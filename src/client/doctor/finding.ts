/** What the doctor found of one thing. */
export interface Finding {
  /** What was looked at: `schedules`, `node node-1`. */
  readonly check: string;
  /** WARN: it works, and somebody should look. WRONG: something does not work. */
  readonly verdict: 'OK' | 'WARN' | 'WRONG';
  /** One line. */
  readonly found: string;
  /** What to do, in one line; with every WARN and WRONG. */
  readonly fix?: string;
}

export function ok(check: string, found: string): Finding {
  return { check, verdict: 'OK', found };
}

export function warn(check: string, found: string, fix: string): Finding {
  return { check, verdict: 'WARN', found, fix };
}

export function wrong(check: string, found: string, fix: string): Finding {
  return { check, verdict: 'WRONG', found, fix };
}

/** `a`, `a and b`, `a, b and c` */
export function enumerated(items: readonly string[]): string {
  if (items.length < 2) return items.join('');
  return `${items.slice(0, -1).join(', ')} and ${items.at(-1)}`;
}
