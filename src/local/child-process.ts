import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, fstatSync, writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { identityOf, type ProcessIdentity } from '../process-identity.js';
import { logTail, openLog } from './log-file.js';

/**
 * How a process says that it serves: by one JSON line with `"ready":true` on stdout (our own processes; they also end
 * when their stdin closes, so that none outlives who started it), or by a probe that succeeds (everybody else's).
 */
export type ReadySign = { by: 'line' } | { by: 'probe'; probe: () => Promise<void> };

export interface ProcessSpec {
  name: string;
  command: string;
  args: readonly string[];
  /** Added to the environment of this process; `undefined` takes a variable away. */
  env?: Readonly<Record<string, string | undefined>>;
  cwd?: string;
  uid?: number;
  gid?: number;
  /** Takes stderr, and of stdout what is not the ready line. */
  logFile: string;
  ready: ReadySign;
  readyTimeoutMs: number;
  /** Asks the process to end; SIGKILL follows after `stopTimeoutMs`. */
  stopSignal: NodeJS.Signals;
  stopTimeoutMs: number;
  /** Ends the process at once, when somebody is in a hurry; SIGKILL by default. */
  hastenSignal?: NodeJS.Signals;
}

/** What a start is told by who asks for it. */
export interface Launch {
  /** Gives the start up. */
  signal?: AbortSignal;
  /** Called as soon as the process exists, long before it serves, so that no crash leaves it unrecorded. */
  onSpawn?: (identity: ProcessIdentity) => void;
}

export interface ProcessExit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

export const ReadyLine = z.looseObject({ ready: z.literal(true) });
/** The ready line of a process: `ready`, and what else it tells, such as its address. */
export type ReadyLine = z.infer<typeof ReadyLine>;

/** A process did not come to serve; the message names its log and quotes its last lines. */
export class ProcessStartError extends Error {
  override readonly name = 'ProcessStartError';
  readonly process: string;
  readonly logFile: string;

  constructor(spec: Pick<ProcessSpec, 'name' | 'logFile'>, reason: string, tail: string) {
    super(
      `${spec.name} ${reason}; its log is ${spec.logFile}` +
        (tail === '' ? ' (empty)' : `, which ends with:\n${tail.replaceAll(/^/gm, '  | ')}`),
    );
    this.process = spec.name;
    this.logFile = spec.logFile;
  }
}

/** A child process that serves, or did until `exited`. */
export class RunningProcess {
  readonly identity: ProcessIdentity;
  readonly exited: Promise<ProcessExit>;
  readonly ready: ReadyLine;
  readonly #child: ChildProcess;
  readonly #spec: ProcessSpec;

  constructor(
    spec: ProcessSpec,
    child: ChildProcess,
    identity: ProcessIdentity,
    exited: Promise<ProcessExit>,
    ready: ReadyLine,
  ) {
    this.#spec = spec;
    this.#child = child;
    this.identity = identity;
    this.exited = exited;
    this.ready = ready;
  }

  get name(): string {
    return this.#spec.name;
  }

  get pid(): number {
    return this.identity.pid;
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Signals the process while it runs; a pid of the past is never signalled. */
  signal(signal: NodeJS.Signals): void {
    if (this.running) this.#child.kill(signal);
  }

  /** Kills the process and waits until it is gone. */
  async kill(): Promise<ProcessExit> {
    this.signal('SIGKILL');
    return await this.exited;
  }

  /** Asks the process to end, kills it when it does not in time or when `hasten` fires, and waits until it is gone. */
  async stop(hasten?: AbortSignal): Promise<ProcessExit> {
    return await end(this.#spec, this.#child, this.exited, hasten);
  }
}

/**
 * Starts a process and waits until it serves.
 *
 * It gets a process group of its own, so that a Ctrl-C on the terminal reaches only the one who started it and the order
 * of a shutdown is ours.
 *
 * @throws ProcessStartError when it ends before it serves, or does not serve in time (it is gone then), or when `signal` fires
 */
export async function startProcess(
  spec: ProcessSpec,
  { signal, onSpawn }: Launch = {},
): Promise<RunningProcess> {
  signal?.throwIfAborted();
  const log = await openLog(spec.logFile);
  const logStart = fstatSync(log).size;
  const fail = (reason: string) => new ProcessStartError(spec, reason, logTail(spec.logFile, 15, logStart));
  const byLine = spec.ready.by === 'line';
  try {
    const child = spawn(spec.command, spec.args, {
      cwd: spec.cwd,
      env: withEnvironment(spec.env),
      stdio: byLine ? ['pipe', 'pipe', log] : ['ignore', log, log],
      detached: true,
      ...(spec.uid === undefined ? {} : { uid: spec.uid }),
      ...(spec.gid === undefined ? {} : { gid: spec.gid }),
    });
    const failedSpawn = new Promise<Error>((resolve) => child.once('error', resolve));
    if (child.pid === undefined) throw fail(`cannot be started: ${(await failedSpawn).message}`);
    // Without its start time nothing could be told about it later. Absent means that it ended already.
    const identity = identityOf(child.pid) ?? { pid: child.pid, startedAt: 'ended' };
    const exited = new Promise<ProcessExit>((resolve) => {
      child.once('exit', (code, exitSignal) => resolve({ code, signal: exitSignal }));
    });
    onSpawn?.(identity);
    // A write to a process that just ended is no reason to end ourselves.
    child.stdin?.on('error', () => {});

    const giveUp = new AbortController();
    const aborted = new Promise<never>((_, reject) => {
      signal?.addEventListener('abort', () => reject(fail('was stopped before it was ready')), {
        once: true,
      });
    });
    aborted.catch(() => {});
    try {
      const ready = await Promise.race([
        byLine ? readyByLine(child, spec.logFile) : readyByProbe(spec.ready, giveUp.signal),
        exited.then((exit) => Promise.reject(fail(`${describeExit(exit)} before it was ready`))),
        sleep(spec.readyTimeoutMs, undefined, { signal: giveUp.signal }).then(() =>
          Promise.reject(fail(`was not ready after ${spec.readyTimeoutMs / 1000} s`)),
        ),
        aborted,
      ]);
      return new RunningProcess(spec, child, identity, exited, ready);
    } catch (error) {
      await end({ ...spec, stopTimeoutMs: Math.min(spec.stopTimeoutMs, 2_000) }, child, exited);
      throw error;
    } finally {
      giveUp.abort();
    }
  } finally {
    closeSync(log);
  }
}

/** `ended with code 1`, `was killed by SIGKILL`. */
export function describeExit(exit: ProcessExit): string {
  return exit.signal === null ? `ended with code ${exit.code}` : `was killed by ${exit.signal}`;
}

async function end(
  spec: ProcessSpec,
  child: ChildProcess,
  exited: Promise<ProcessExit>,
  hasten?: AbortSignal,
): Promise<ProcessExit> {
  const running = () => child.exitCode === null && child.signalCode === null;
  if (running()) {
    const timers = [setTimeout(() => child.kill('SIGKILL'), spec.stopTimeoutMs)];
    const hurry = () => {
      child.kill(spec.hastenSignal ?? 'SIGKILL');
      timers.push(setTimeout(() => child.kill('SIGKILL'), 2_000));
    };
    hasten?.addEventListener('abort', hurry, { once: true });
    // A process that was stopped (SIGSTOP) does not take note of the other signal before it continues.
    child.kill('SIGCONT');
    child.kill(spec.stopSignal);
    if (hasten?.aborted) hurry();
    await exited;
    timers.forEach(clearTimeout);
    hasten?.removeEventListener('abort', hurry);
    endGroup(child);
  }
  return await exited;
}

/** What a process of ours started and did not end itself; asked right after its end, while its pid is nobody else's. */
function endGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // Nothing is left of the group: the rule.
  }
}

async function readyByProbe(ready: ReadySign, giveUp: AbortSignal): Promise<ReadyLine> {
  if (ready.by !== 'probe') throw new TypeError('no probe');
  for (;;) {
    try {
      await ready.probe();
      return { ready: true };
    } catch (error) {
      if (giveUp.aborted) throw error;
      await sleep(30);
    }
  }
}

/** Resolves with the ready line and goes on copying stdout to the log for as long as the process lives. */
function readyByLine(child: ChildProcess, logFile: string): Promise<ReadyLine> {
  const { stdout } = child;
  if (stdout === null) throw new TypeError('stdout is not a pipe');
  return new Promise((resolve) => {
    createInterface({ input: stdout }).on('line', (line) => {
      const ready = parseReadyLine(line);
      if (ready !== undefined) resolve(ready);
      else void appendLine(logFile, line);
    });
  });
}

async function appendLine(logFile: string, line: string): Promise<void> {
  const log = await openLog(logFile, Number.POSITIVE_INFINITY);
  writeSync(log, `${line}\n`);
  closeSync(log);
}

function parseReadyLine(line: string): ReadyLine | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    return ReadyLine.safeParse(JSON.parse(line)).data;
  } catch {
    return undefined;
  }
}

function withEnvironment(env: ProcessSpec['env'] = {}): NodeJS.ProcessEnv {
  const merged: NodeJS.ProcessEnv = { ...process.env, ...env };
  return Object.fromEntries(Object.entries(merged).filter(([, value]) => value !== undefined));
}
