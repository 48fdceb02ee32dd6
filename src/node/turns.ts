import type { Ledger } from './ledger.js';
import type { NodeRequest } from './operation.js';

type Verb = NodeRequest['verb'];

/** How many effects of a kind may run at a time; absent: any number. */
export interface Limits {
  readonly deletions?: number;
  readonly creations?: number;
}

/** What is under way of a verb. */
export interface EffectLoad {
  readonly verb: Verb;
  readonly running: number;
  readonly waiting: number;
  readonly limit?: number;
}

const FACT = 'limits';

/**
 * Lets only so many effects of a verb run at a time; the others wait for their turn, in the order in which they came. The
 * limits are kept in the ledger, so that what a restart resumes is held to them before the coordinator has been heard.
 */
export class Turns {
  readonly #running = new Map<Verb, number>();
  readonly #waiting = new Map<Verb, (() => void)[]>();
  #limits: Limits;
  #stopped = false;

  constructor(private readonly ledger: Pick<Ledger, 'facts'>) {
    this.#limits = (ledger.facts.get(FACT) as Limits | undefined) ?? {};
  }

  /** From now on. What runs goes on; what waits and may run by now starts. Durable when it resolves. */
  async limit({ deletions, creations }: Limits): Promise<void> {
    if (deletions === this.#limits.deletions && creations === this.#limits.creations) return;
    this.#limits = {
      ...(deletions !== undefined && { deletions }),
      ...(creations !== undefined && { creations }),
    };
    for (const verb of this.#waiting.keys()) this.#admit(verb);
    await this.ledger.facts.put(FACT, this.#limits);
  }

  /** Resolves when the effect may start, at the latest when the node stops; `leave` has to follow. */
  async enter(verb: Verb): Promise<void> {
    const queue = this.#waiting.get(verb) ?? [];
    this.#waiting.set(verb, queue);
    await new Promise<void>((resolve) => {
      queue.push(resolve);
      this.#admit(verb);
    });
  }

  leave(verb: Verb): void {
    this.#running.set(verb, this.#runningOf(verb) - 1);
    this.#admit(verb);
  }

  /** Lets go of everything that waits. */
  stop(): void {
    this.#stopped = true;
    for (const verb of this.#waiting.keys()) this.#admit(verb);
  }

  load(): EffectLoad[] {
    return [...new Set<Verb>([...this.#waiting.keys(), 'delete-region', 'create-region'])]
      .map((verb): EffectLoad => {
        const limit = this.#limitOf(verb);
        return {
          verb,
          running: this.#runningOf(verb),
          waiting: this.#waiting.get(verb)?.length ?? 0,
          ...(limit !== undefined && { limit }),
        };
      })
      .filter(({ running, waiting, limit }) => running > 0 || waiting > 0 || limit !== undefined);
  }

  #admit(verb: Verb): void {
    const queue = this.#waiting.get(verb) ?? [];
    const limit = this.#stopped ? undefined : this.#limitOf(verb);
    while (queue.length > 0 && this.#runningOf(verb) < (limit ?? Number.POSITIVE_INFINITY)) {
      this.#running.set(verb, this.#runningOf(verb) + 1);
      queue.shift()!();
    }
  }

  #runningOf(verb: Verb): number {
    return this.#running.get(verb) ?? 0;
  }

  #limitOf(verb: Verb): number | undefined {
    switch (verb) {
      case 'delete-region':
        return this.#limits.deletions;
      case 'create-region':
        return this.#limits.creations;
      case 'request-resource':
      case 'release-resource':
      case 'deploy-task-group':
      case 'cancel-task-group':
        return undefined;
    }
  }
}
