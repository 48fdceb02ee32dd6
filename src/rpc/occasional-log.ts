import type { Logger } from '../log.js';

const QUIET_MS = 60_000;

/** Warns of what strangers can cause: each kind at once, then at most once a minute with the count since. */
export class OccasionalLog {
  readonly #kinds = new Map<string, { next: number; silent: number }>();

  constructor(private readonly log: Pick<Logger, 'warn'>) {}

  /** `kind` is one of few; `about` must hold nothing secret. */
  warn(kind: string, about: Readonly<Record<string, unknown>> = {}): void {
    const now = performance.now();
    const known = this.#kinds.get(kind);
    if (known !== undefined && now < known.next) {
      known.silent += 1;
      return;
    }
    const before = known?.silent ?? 0;
    this.#kinds.set(kind, { next: now + QUIET_MS, silent: 0 });
    this.log.warn({ ...about, ...(before > 0 && { alsoBefore: before }) }, kind);
  }
}
