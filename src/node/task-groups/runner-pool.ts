import { AsyncResource } from 'node:async_hooks';
import { type ChildProcess, fork } from 'node:child_process';
import { identityOf, type ProcessIdentity } from '../../process-identity.js';
import { builtProgram } from '../../project.js';
import type { FromRunner, PipelineSpec, ToRunner } from './runner/protocol.js';

const PROGRAM = 'src/node/task-groups/runner/main.ts';
/** Runners that are kept for the next task group, and for how long. */
const MAX_IDLE = 8;
const IDLE_MS = 10_000;
/** A runner is used so many times, so that what may leak in it stays bounded. */
const MAX_RUNS = 500;
const HEAP_MB = 128;
/** One for each sub-task that may run at a time: DuckDB works on them. */
const THREADS = 16;

/** What becomes of a run is told to these. */
export interface RunHandlers {
  readonly onProgress: (rowsIn: number, rowsOut: number) => void;
  /** The pipeline stands still until `committed` is called. */
  readonly onStaged: (staged: Extract<FromRunner, { type: 'staged' }>) => void;
}

/**
 * Runs pipelines in processes of their own, so that one that hangs, crashes DuckDB or eats its memory stops neither the
 * node nor its neighbours, and can be killed whatever it is doing. Processes that are done are used again: starting a
 * short task group costs no new process.
 */
export class RunnerPool {
  readonly #idle: { readonly runner: Runner; readonly timer: NodeJS.Timeout }[] = [];
  readonly #all = new Set<Runner>();

  acquire(): Runner {
    for (let kept = this.#idle.pop(); kept !== undefined; kept = this.#idle.pop()) {
      clearTimeout(kept.timer);
      if (kept.runner.isAlive) return kept.runner;
    }
    const runner = new Runner();
    this.#all.add(runner);
    void runner.exited.then(() => this.#all.delete(runner));
    return runner;
  }

  /** Takes back a runner whose run is over; one that may still be at work must be killed instead. */
  release(runner: Runner): void {
    if (!runner.isAlive || runner.runs >= MAX_RUNS || this.#idle.length >= MAX_IDLE) {
      void runner.kill();
      return;
    }
    const timer = setTimeout(() => {
      this.#idle.splice(
        this.#idle.findIndex((kept) => kept.runner === runner),
        1,
      );
      void runner.kill();
    }, IDLE_MS).unref();
    this.#idle.push({ runner, timer });
  }

  async close(): Promise<void> {
    for (const { timer } of this.#idle.splice(0)) clearTimeout(timer);
    await Promise.all([...this.#all].map((runner) => runner.kill()));
  }
}

/** A process that runs one pipeline at a time. */
export class Runner {
  readonly #process: ChildProcess;
  /** Resolves with how the process ended. */
  readonly exited: Promise<string>;
  runs = 0;
  #over = false;

  constructor() {
    this.#process = fork(builtProgram(PROGRAM), [], {
      execArgv: [`--max-old-space-size=${HEAP_MB}`],
      env: { ...process.env, UV_THREADPOOL_SIZE: String(THREADS) },
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    this.exited = new Promise((resolve) => {
      const end = (how: string): void => {
        this.#over = true;
        resolve(how);
      };
      this.#process.once('exit', (code, signal) => end(signal ?? `exit code ${code}`));
      this.#process.once('error', (error) => {
        if (this.#process.pid === undefined) end(error.message);
      });
    });
  }

  get isAlive(): boolean {
    return !this.#over && this.#process.connected;
  }

  get identity(): ProcessIdentity | undefined {
    return this.#process.pid === undefined ? undefined : identityOf(this.#process.pid);
  }

  /** Resolves when the pipeline is at its end; rejects with why it failed, also when the process is gone. */
  async run(spec: PipelineSpec, { onProgress, onStaged }: RunHandlers): Promise<void> {
    this.runs += 1;
    let listener: ((message: FromRunner) => void) | undefined;
    const ended = new Promise<string | undefined>((resolve) => {
      // The process was started for another task group: its messages come on behalf of that one's caller.
      listener = AsyncResource.bind((message: FromRunner) => {
        if (message.type === 'progress') onProgress(message.rowsIn, message.rowsOut);
        else if (message.type === 'staged') onStaged(message);
        else resolve(message.error);
      });
      this.#process.on('message', listener);
    });
    try {
      this.#tell({ type: 'run', spec });
      const error = await Promise.race([
        ended,
        this.exited.then((how) => `its process ended unexpectedly: ${how}`),
      ]);
      if (error !== undefined) throw new Error(error);
    } finally {
      this.#process.off('message', listener!);
    }
  }

  committed(): void {
    this.#tell({ type: 'committed' });
  }

  savepoint(): void {
    this.#tell({ type: 'savepoint' });
  }

  /** Stops the process where it is, whatever it does, until it is let go; it can be killed all the same. */
  freeze(): void {
    this.#process.kill('SIGSTOP');
  }

  thaw(): void {
    this.#process.kill('SIGCONT');
  }

  /** Resolves when the process is gone. */
  async kill(): Promise<void> {
    if (!this.#over) this.#process.kill('SIGKILL');
    await this.exited;
  }

  #tell(message: ToRunner): void {
    // What a process that is gone was not told, its exit tells.
    this.#process.send(message, () => undefined);
  }
}
