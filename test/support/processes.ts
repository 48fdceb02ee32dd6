import { join, relative } from 'node:path';
import { afterEach } from 'vitest';
import {
  type ProcessExit,
  type ProcessSpec,
  type ReadyLine,
  type RunningProcess,
  startProcess,
} from '../../src/local/child-process.js';
import { logTail } from '../../src/local/log-file.js';
import { builtProgram, projectRoot } from '../../src/project.js';
import { killWithUs } from './guard.js';

export interface ProgramOptions {
  /** Names the log, and the process in messages. */
  name: string;
  /** A source file such as `src/node/main.ts`; what runs is its build. */
  program: string;
  /** Directory of another build of the project; this one's by default. */
  build?: string;
  args?: readonly string[];
  env?: Readonly<Record<string, string | undefined>>;
  /** Takes `<name>.log`. */
  directory: string;
  readyTimeoutMs?: number;
}

/** One of our programs as a real process. The handle stays the same across restarts. */
export interface TestProcess {
  readonly name: string;
  readonly pid: number;
  readonly running: boolean;
  /** What it told when it was ready. */
  readonly ready: ReadyLine;
  readonly exited: Promise<ProcessExit>;
  readonly logFile: string;
  /** Sends a signal; with SIGKILL, the default, waits until the process is gone. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  /** With the same arguments, after killing it when it still runs; `env` and `args` are added for this and later starts. */
  restart(changes?: {
    args?: readonly string[];
    env?: Readonly<Record<string, string | undefined>>;
    /** Runs the program of another build from now on: its directory, in the place of this project's. */
    build?: string;
  }): Promise<void>;
  /** Asks it to end (SIGTERM) and waits; kills it when it does not. */
  stop(): Promise<ProcessExit>;
}

/** What a failed test shows of each process; `ended` of one that was stopped, whose directory may be gone by then. */
const logs = new Set<{ name: string; logFile: string; ended?: string }>();

afterEach(({ task }) => {
  for (const log of logs) {
    if (task.result?.state === 'fail') {
      console.error(
        `--- the end of the log of ${log.name} (${log.logFile})\n${log.ended ?? logTail(log.logFile, 40)}`,
      );
    }
    if (log.ended !== undefined) logs.delete(log);
  }
});

/** Starts a program that prints a ready line, and waits for that. It ends with this test process at the latest. */
export async function startProgram(options: ProgramOptions): Promise<TestProcess> {
  let spec: ProcessSpec = {
    name: options.name,
    command: process.execPath,
    args: [programOf(options), ...(options.args ?? []), '--exit-with-parent'],
    env: options.env ?? {},
    logFile: join(options.directory, `${options.name}.log`),
    ready: { by: 'line' },
    readyTimeoutMs: options.readyTimeoutMs ?? 20_000,
    stopSignal: 'SIGTERM',
    stopTimeoutMs: 15_000,
  };
  const log: { name: string; logFile: string; ended?: string } = { name: spec.name, logFile: spec.logFile };
  logs.add(log);
  const start = async () => {
    const started = await startProcess(spec);
    killWithUs(started.identity);
    return started;
  };
  let running: RunningProcess = await start();
  return {
    name: spec.name,
    logFile: spec.logFile,
    get pid() {
      return running.pid;
    },
    get running() {
      return running.running;
    },
    get ready() {
      return running.ready;
    },
    get exited() {
      return running.exited;
    },
    async kill(signal = 'SIGKILL') {
      running.signal(signal);
      if (signal === 'SIGKILL') await running.exited;
    },
    async restart(changes = {}) {
      await running.kill();
      const [program, ...args] = spec.args;
      const next = changes.build === undefined ? program! : programOf({ ...options, build: changes.build });
      spec = {
        ...spec,
        args: [next, ...args, ...(changes.args ?? [])],
        env: { ...spec.env, ...changes.env },
      };
      delete log.ended;
      logs.add(log);
      running = await start();
    },
    async stop() {
      const exit = await running.stop();
      log.ended = logTail(log.logFile, 40);
      return exit;
    },
  };
}

function programOf({ program, build }: Pick<ProgramOptions, 'program' | 'build'>): string {
  const own = builtProgram(program);
  return build === undefined ? own : join(build, relative(projectRoot, own));
}
