import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';

/**
 * Files that are read again when they change. What is half written is not taken: a change counts when two looks in a row
 * found the same, and when it can be parsed. Until then, and when it cannot, the last good value stays.
 *
 * The contents are compared, not their times: secrets are mounted by swapping symbolic links, and clocks are coarse.
 */
export class WatchedFiles<T> {
  #value: T;
  #taken: string;
  #seen: string;
  #problem: string | undefined;
  #looking = false;
  readonly #timer: NodeJS.Timeout;

  /** Throws when the files cannot be read or parsed now. */
  constructor(
    private readonly options: {
      readonly paths: readonly string[];
      readonly parse: (contents: readonly string[]) => T;
      readonly pollMs: number;
      readonly onChange: (value: T) => void;
      /** Told once for each problem, while the last good value stays. */
      readonly onProblem: (problem: string) => void;
    },
  ) {
    const contents = options.paths.map((path) => readFileSync(path, 'utf8'));
    this.#value = options.parse(contents);
    this.#taken = digest(contents);
    this.#seen = this.#taken;
    this.#timer = setInterval(() => void this.#look(), options.pollMs).unref();
  }

  get value(): T {
    return this.#value;
  }

  close(): void {
    clearInterval(this.#timer);
  }

  async #look(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    try {
      const contents = await Promise.all(this.options.paths.map((path) => readFile(path, 'utf8')));
      const found = digest(contents);
      const settled = found === this.#seen;
      this.#seen = found;
      if (!settled) return;
      if (found !== this.#taken) {
        this.#value = this.options.parse(contents);
        this.#taken = found;
        this.options.onChange(this.#value);
      }
      this.#problem = undefined;
    } catch (error) {
      this.#tell(reasonOf(error));
    } finally {
      this.#looking = false;
    }
  }

  #tell(problem: string): void {
    if (problem === this.#problem) return;
    this.#problem = problem;
    this.options.onProblem(problem);
  }
}

/** Why a file cannot be used; without its path for errors of the file system, which may be a misplaced secret. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return 'syscall' in error && 'code' in error ? `cannot be read (${String(error.code)})` : error.message;
}

function digest(contents: readonly string[]): string {
  const hash = createHash('sha256');
  for (const content of contents) hash.update(`${content.length}:`).update(content);
  return hash.digest('hex');
}
