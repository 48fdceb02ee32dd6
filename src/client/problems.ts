import { messageOf } from '../message-of.js';

/** What an answer lacks because somebody could not be asked. */
export class Problems {
  readonly #byReason = new Map<string, string[]>();

  add(what: string, error: unknown): void {
    const reason = messageOf(error);
    this.#byReason.set(reason, [...(this.#byReason.get(reason) ?? []), what]);
  }

  /** A line for each reason: `nodes, pauses: the coordinator at http://127.0.0.1:7400 did not answer in time: ask again` */
  get lines(): string[] {
    return [...this.#byReason].map(([reason, what]) => `${what.sort().join(', ')}: ${reason}`).sort();
  }
}
