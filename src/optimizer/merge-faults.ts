import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';

const MergeFault = z.object({
  /** Only tasks whose `<task id>@<attempt>` contains this; empty for all. */
  match: z.string(),
  /** The merge takes this much longer. */
  delayMs: z.number().nonnegative(),
  /** It ends with this error, instead of being done or although it was. */
  fail: z.object({ message: z.string(), afterEffect: z.boolean() }).optional(),
  /** Strikes as often as there are tokens for it; otherwise until it is removed. */
  limited: z.boolean(),
});
/** A fault of merges, as it was set at the node. */
export type MergeFault = z.infer<typeof MergeFault>;

export interface MergeStrike extends MergeFault {
  readonly id: number;
}

/** Each strike of a limited fault is a file. */
export const MOST_MERGE_STRIKES = 1000;

/**
 * Faults that a node sets for the merges of its optimizers, as files that these look at before each merge: `<id>.json`,
 * and a token `<id>.<n>` for each strike that is left. Who removes a token has the strike: no two merges share one.
 */
export class MergeFaults {
  constructor(private readonly directory: string) {}

  set(id: number, fault: Omit<MergeFault, 'limited'>, times: number): void {
    mkdirSync(this.directory, { recursive: true });
    for (let strike = 1; strike <= times; strike++)
      writeFileSync(join(this.directory, `${id}.${strike}`), '');
    const content = JSON.stringify({ ...fault, limited: times > 0 } satisfies MergeFault);
    // The tokens are there by now, and nobody reads half of it.
    writeFileSync(join(this.directory, `${id}.tmp`), content);
    renameSync(join(this.directory, `${id}.tmp`), join(this.directory, `${id}.json`));
  }

  /** Strikes that are left. */
  left(id: number): number {
    return this.#tokens(id).length;
  }

  clear(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }

  isSet(id: number): boolean {
    return existsSync(join(this.directory, `${id}.json`));
  }

  /** Uses up and gives back what strikes this merge; nothing comes after a failure. */
  take(task: string): MergeStrike[] {
    const strikes: MergeStrike[] = [];
    for (const id of this.#ids()) {
      const fault = this.#read(id);
      if (fault === undefined || !task.includes(fault.match)) continue;
      if (fault.limited && !this.#tokens(id).some((token) => this.#use(token))) continue;
      strikes.push({ ...fault, id });
      if (fault.fail !== undefined) break;
    }
    return strikes;
  }

  #ids(): number[] {
    return this.#names()
      .flatMap((name) => /^(\d+)\.json$/.exec(name)?.[1] ?? [])
      .map(Number)
      .sort((a, b) => a - b);
  }

  #tokens(id: number): string[] {
    return this.#names().filter((name) => name.startsWith(`${id}.`) && /^\d+\.\d+$/.test(name));
  }

  #use(token: string): boolean {
    try {
      unlinkSync(join(this.directory, token));
      return true;
    } catch {
      return false;
    }
  }

  #read(id: number): MergeFault | undefined {
    try {
      return MergeFault.parse(JSON.parse(readFileSync(join(this.directory, `${id}.json`), 'utf8')));
    } catch {
      return undefined;
    }
  }

  #names(): string[] {
    try {
      return readdirSync(this.directory);
    } catch {
      return [];
    }
  }
}
