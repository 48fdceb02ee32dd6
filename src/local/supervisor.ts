import type { ProcessIdentity } from '../process-identity.js';
import { describeExit, type Launch, type RunningProcess } from './child-process.js';
import { LocalStackError } from './errors.js';
import type { ProcessState, StackProcess } from './stack-file.js';

/** One process to keep running, and its place in the order of things. */
export interface Service {
  name: string;
  log: string;
  stopSignal: StackProcess['stopSignal'];
  /** Services of one stage start together, after all of the lower stages serve. */
  startStage: number;
  /** Services of one stage stop together, after all of the lower stages are gone. */
  stopStage: number;
  /** Starts the process and resolves when it serves. Called again after its death. */
  start(launch: Launch): Promise<RunningProcess>;
}

export interface SupervisorOptions {
  services: readonly Service[];
  /** Told of every change, before anything is awaited. */
  onChange: (processes: StackProcess[]) => void;
  /** Tells a person. */
  print: (line: string) => void;
}

/** A process that lived this long has earned an immediate restart. */
const STABLE_AFTER_MS = 30_000;

/** Before the next start of a process that has died `failures` times in a row: 0 first, then 250 ms doubling up to 10 s. */
export function backOffMs(failures: number): number {
  return failures <= 1 ? 0 : Math.min(250 * 2 ** (failures - 2), 10_000);
}

/**
 * Keeps services running: starts them in order, starts again what dies, and stops them in order. Each service is a loop of
 * its own that does what is *wanted* of it at the moment, to run or not to; a person's command changes the wish and wakes it.
 */
export class Supervisor {
  readonly #services: readonly Supervised[];
  readonly #print: (line: string) => void;

  constructor({ services, onChange, print }: SupervisorOptions) {
    const changed = () => onChange(this.snapshot());
    this.#services = services.map((service) => new Supervised(service, changed, print));
    this.#print = print;
  }

  /**
   * Resolves when every service serves.
   *
   * @throws what the first service threw that could not be started, or the reason of `signal`; call `stop` then
   */
  async start(signal: AbortSignal): Promise<void> {
    const { promise: givenUp, stopListening } = rejectionOf(signal);
    try {
      for (const stage of stages(this.#services, ({ service }) => service.startStage)) {
        signal.throwIfAborted();
        this.#print(`starting ${stage.map(({ service }) => service.name).join(', ')}`);
        await Promise.race([Promise.all(stage.map((supervised) => supervised.run())), givenUp]);
      }
    } finally {
      stopListening();
    }
  }

  /** Ends every service in order, and waits until all are gone. `hasten` kills what has not ended. */
  async stop(hasten: AbortSignal): Promise<void> {
    for (const stage of stages(this.#services, ({ service }) => service.stopStage)) {
      const running = stage.filter((supervised) => supervised.running);
      if (running.length > 0)
        this.#print(`stopping ${running.map(({ service }) => service.name).join(', ')}`);
      await Promise.all(stage.map((supervised) => supervised.shutDown(hasten)));
    }
  }

  /** Kills a process (SIGKILL) and keeps it down, or starts it again after a while. */
  async kill(name: string, restartAfterMs?: number): Promise<void> {
    await this.#find(name).takeDown('kill');
    if (restartAfterMs !== undefined) this.#find(name).bringUpAfter(restartAfterMs);
  }

  /** Ends a process in order and starts it again; resolves when it serves. Also starts one that was killed on purpose. */
  async restart(name: string): Promise<void> {
    await this.#find(name).takeDown('stop');
    await this.#find(name).bringUp();
  }

  /** Holds a process (SIGSTOP): it keeps its connections and answers nothing. */
  pause(name: string): void {
    this.#find(name).pause();
  }

  resume(name: string): void {
    this.#find(name).resume();
  }

  /** In the order of a shutdown. */
  snapshot(): StackProcess[] {
    return stages(this.#services, ({ service }) => service.stopStage)
      .flat()
      .map((supervised) => supervised.snapshot());
  }

  #find(name: string): Supervised {
    const found = this.#services.find(({ service }) => service.name === name);
    if (found !== undefined) return found;
    const names = this.#services.map(({ service }) => service.name).join(', ');
    throw new LocalStackError('UNKNOWN_PROCESS', `the stack has no process ${name}; it has ${names}`);
  }
}

class Supervised {
  readonly service: Service;
  readonly #changed: () => void;
  readonly #print: (line: string) => void;
  /** What a person, or a shutdown, wishes: that it runs, or that it does not. */
  #wanted = true;
  #closing = false;
  #state: ProcessState = 'stopped';
  #identity: ProcessIdentity | undefined;
  #process: RunningProcess | undefined;
  #restarts = 0;
  #failures = 0;
  #loop: Promise<void> | undefined;
  /** Gives up the start that is under way. */
  #starting: AbortController | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** Those who wait for a change of state or wish. */
  readonly #waiters = new Set<() => void>();

  constructor(service: Service, changed: () => void, print: (line: string) => void) {
    this.service = service;
    this.#changed = changed;
    this.#print = print;
  }

  get running(): boolean {
    return this.#identity !== undefined;
  }

  snapshot(): StackProcess {
    const { name, log, stopSignal } = this.service;
    return {
      name,
      state: this.#state,
      restarts: this.#restarts,
      log,
      stopSignal,
      ...(this.#identity === undefined ? {} : { identity: this.#identity }),
    };
  }

  /** Starts the loop; resolves when the service serves for the first time, rejects when its first start fails. */
  run(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#loop = this.#keep(resolve, reject);
    });
  }

  async takeDown(how: 'kill' | 'stop'): Promise<void> {
    this.#wish(false);
    if (how === 'kill') await this.#process?.kill();
    else await this.#process?.stop();
    await this.#until(() => this.#state === 'stopped');
  }

  bringUpAfter(delayMs: number): void {
    this.#timer = setTimeout(() => this.#wish(true), delayMs);
  }

  async bringUp(): Promise<void> {
    this.#wish(true);
    await this.#until(
      () => this.#state === 'running' || this.#failures > 0 || this.#closing || !this.#wanted,
    );
    if (this.#failures > 0) {
      const { name, log } = this.service;
      throw new LocalStackError(
        'START_FAILED',
        `${name} did not come up; it is tried again; its log is ${log}`,
      );
    }
  }

  pause(): void {
    if (this.#state === 'paused') return;
    this.#require('running', 'paused');
    this.#process?.signal('SIGSTOP');
    this.#become('paused');
  }

  resume(): void {
    if (this.#state === 'running') return;
    this.#require('paused', 'resumed');
    this.#process?.signal('SIGCONT');
    this.#become('running');
  }

  #require(state: ProcessState, done: string): void {
    if (this.#state === state) return;
    const { name } = this.service;
    throw new LocalStackError(
      'WRONG_STATE',
      `${name} is ${this.#state}: only what is ${state} can be ${done}`,
    );
  }

  async shutDown(hasten: AbortSignal): Promise<void> {
    this.#closing = true;
    this.#wish(false);
    const stopping = this.#process;
    const exit = await stopping?.stop(hasten);
    if (exit?.signal === 'SIGKILL') {
      this.#print(`${this.service.name} (pid ${stopping?.pid}) did not end when asked, and was killed`);
    }
    await this.#loop;
  }

  async #keep(served: () => void, failed: (error: unknown) => void): Promise<void> {
    const { name } = this.service;
    let first = true;
    while (!this.#closing) {
      if (!this.#wanted) {
        this.#become('stopped');
        await this.#until(() => this.#wanted || this.#closing);
        continue;
      }
      const delayMs = backOffMs(this.#failures);
      if (delayMs > 0) {
        this.#become('waiting');
        await this.#until(() => !this.#wanted || this.#closing, delayMs);
        if (!this.#wanted) continue;
      }
      const startedAt = performance.now();
      try {
        this.#process = await this.#launch();
        served();
        first = false;
      } catch (error) {
        this.#identity = undefined;
        this.#failures++;
        if (first && !this.#closing) {
          this.#become('stopped');
          failed(error);
          return;
        }
        if (this.#wanted) this.#print((error as Error).message);
        continue;
      }
      const { pid } = this.#process;
      const exit = await this.#process.exited;
      this.#process = undefined;
      this.#identity = undefined;
      if (!this.#wanted) continue;
      this.#failures = performance.now() - startedAt > STABLE_AFTER_MS ? 1 : this.#failures + 1;
      this.#restarts++;
      const delay = backOffMs(this.#failures);
      this.#print(
        `${name} (pid ${pid}) ${describeExit(exit)}; starting it again${delay > 0 ? ` in ${delay / 1000} s` : ''}; its log is ${this.service.log}`,
      );
    }
    this.#become('stopped');
  }

  async #launch(): Promise<RunningProcess> {
    this.#starting = new AbortController();
    try {
      this.#become('starting');
      const started = await this.service.start({
        signal: this.#starting.signal,
        onSpawn: (identity) => {
          this.#identity = identity;
          this.#changed();
        },
      });
      this.#identity = started.identity;
      this.#process = started;
      // Between the spawn and now somebody may have wished it away.
      if (!this.#wanted) await started.stop();
      else this.#become('running');
      return started;
    } finally {
      this.#starting = undefined;
    }
  }

  #wish(wanted: boolean): void {
    clearTimeout(this.#timer);
    this.#wanted = wanted;
    // A person's start is no consequence of an earlier death.
    if (wanted) this.#failures = 0;
    else this.#starting?.abort();
    this.#wake();
  }

  #become(state: ProcessState): void {
    this.#state = state;
    this.#changed();
    this.#wake();
  }

  #wake(): void {
    for (const waiter of this.#waiters) waiter();
  }

  /** Resolves when the condition holds, or after `timeoutMs`. */
  #until(condition: () => boolean, timeoutMs?: number): Promise<void> {
    if (condition()) return Promise.resolve();
    return new Promise((resolve) => {
      const finish = () => {
        this.#waiters.delete(check);
        clearTimeout(timer);
        resolve();
      };
      const check = () => {
        if (condition()) finish();
      };
      const timer = timeoutMs === undefined ? undefined : setTimeout(finish, timeoutMs);
      this.#waiters.add(check);
    });
  }
}

function stages(
  services: readonly Supervised[],
  stageOf: (supervised: Supervised) => number,
): Supervised[][] {
  const numbers = [...new Set(services.map(stageOf))].sort((a, b) => a - b);
  return numbers.map((number) => services.filter((supervised) => stageOf(supervised) === number));
}

/** A promise that a signal rejects; it does so unheard when nobody awaits it any more. */
function rejectionOf(signal: AbortSignal): { promise: Promise<never>; stopListening: () => void } {
  let stopListening = () => {};
  const promise = new Promise<never>((_, reject) => {
    const onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    stopListening = () => signal.removeEventListener('abort', onAbort);
  });
  promise.catch(() => {});
  return { promise, stopListening };
}
