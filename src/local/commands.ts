import { spawn } from 'node:child_process';
import { closeSync, existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ProcessIdentity, signalProcess, waitUntilGone } from '../process-identity.js';
import { builtProgram } from '../project.js';
import { describeExit } from './child-process.js';
import { LocalStackError } from './errors.js';
import { layoutOf, makeDirectories, stewardHome } from './layout.js';
import { endLeftovers } from './leftovers.js';
import { lockHolder, tryLock } from './lock.js';
import { openLog } from './log-file.js';
import { alreadyRunning, runStack, type StackPlan } from './stack.js';
import { type RunningStack, readStack } from './stack-file.js';
import { type LocalStatus, renderStatus, statusOf } from './status.js';
import { listenForStop, type StopSignals } from './stop-signals.js';
import { type SupervisorInput, SupervisorMessage } from './supervisor-process.js';

export { type ControlCommand, controlStack } from './control.js';
export { LocalStackError } from './errors.js';
export { stewardHome } from './layout.js';
export { type RunningStack, readStack, type Stack, type StackAddresses } from './stack-file.js';
export { type LocalStatus, renderStatus } from './status.js';

/** Ports that the user insists on; without one, the port of the last start is used, or any free one. */
export interface AskedPorts {
  temporal?: number;
  ui?: number;
  postgres?: number;
  coordinator?: number;
}

export interface StartOptions {
  /** The stack runs on when the command has ended. */
  detach?: boolean;
  /** One JSON document (`LocalStatus`) on stdout when it runs, instead of the status page. */
  json?: boolean;
  ports?: AskedPorts;
  /** Called when the stack runs, before the status page; when it fails, the stack runs on. */
  tour?: (stack: RunningStack, print: (line: string) => void) => Promise<void>;
  home?: string;
  /** Progress; on stderr by default. */
  print?: (line: string) => void;
  /** The document or page; on stdout by default. */
  output?: (text: string) => void;
  /** Another stack than Steward's, for tests: its plan, and the program that supervises it when detached. */
  plan?: StackPlan;
  supervisorProgram?: string;
}

/**
 * Starts the local stack. In the foreground it resolves when the stack was stopped by Ctrl-C (or SIGTERM, SIGHUP; a second
 * one hastens); detached, when it runs.
 *
 * @throws LocalStackError ALREADY_RUNNING, PORT_IN_USE or START_FAILED; nothing of it runs then that did not run before
 */
export async function startLocal(options: StartOptions = {}): Promise<void> {
  const print = options.print ?? toStderr;
  const signals = listenForStop();
  try {
    if (options.detach) await startDetached(options, print, signals);
    else await startInForeground(options, print, signals);
  } finally {
    signals.dispose();
  }
}

async function startInForeground(
  options: StartOptions,
  print: (line: string) => void,
  { stop, hasten }: StopSignals,
): Promise<void> {
  const home = options.home ?? stewardHome();
  // A terminal that was closed, or a pipe that nobody reads, is no reason to leave the stack without its supervisor.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
  await runStack({
    home,
    // Loads the clients of both servers, which no other command needs.
    plan: options.plan ?? (await import('./steward-plan.js')).stewardPlan(),
    ports: { ...options.ports },
    print,
    stop,
    hasten,
    onRunning: (stack) => void welcome(stack, options, print, stop),
  });
  print(`stopped; the data stay in ${layoutOf(home).data}`);
}

async function startDetached(
  options: StartOptions,
  print: (line: string) => void,
  { stop, hasten }: StopSignals,
): Promise<void> {
  const home = options.home ?? stewardHome();
  const layout = layoutOf(home);
  // The supervisor takes the lock; asking here spares a running one's log.
  const holder = lockHolder(layout.lock);
  if (holder !== undefined) throw alreadyRunning(home, holder);
  makeDirectories(layout);
  const logFile = layout.log('supervisor');
  const log = await openLog(logFile);
  const input: SupervisorInput = { home, ports: { ...options.ports } };
  const supervisor = spawn(
    process.execPath,
    [options.supervisorProgram ?? builtProgram('src/local/supervisor-main.ts'), JSON.stringify(input)],
    { detached: true, stdio: ['ignore', log, log, 'ipc'] },
  );
  closeSync(log);
  // Whoever gives up here gives the start up: the supervisor stops what it has started.
  const terminate = () => supervisor.kill('SIGTERM');
  stop.addEventListener('abort', terminate);
  hasten.addEventListener('abort', terminate);
  await new Promise<void>((resolve, reject) => {
    supervisor.once('error', reject);
    supervisor.once('exit', (code, signal) =>
      reject(
        new LocalStackError(
          'START_FAILED',
          `the supervisor ${describeExit({ code, signal })} before the stack ran; its log is ${logFile}`,
        ),
      ),
    );
    supervisor.on('message', (sent) => {
      const message = SupervisorMessage.parse(sent);
      switch (message.tell) {
        case 'progress':
          return print(message.line);
        case 'running':
          return resolve();
        case 'failed':
          return reject(new LocalStackError(message.code, message.message));
      }
    });
  });
  stop.removeEventListener('abort', terminate);
  hasten.removeEventListener('abort', terminate);
  supervisor.disconnect();
  supervisor.unref();
  const stack = readStack(home);
  if (stack?.addresses === undefined) {
    throw new LocalStackError('START_FAILED', `the stack was stopped again at once; see ${logFile}`);
  }
  await welcome({ ...stack, addresses: stack.addresses }, options, print, stop);
}

async function welcome(
  stack: RunningStack,
  options: StartOptions,
  print: (line: string) => void,
  stop: AbortSignal,
): Promise<void> {
  try {
    await options.tour?.(stack, print);
  } catch (error) {
    if (!stop.aborted) {
      process.exitCode = 1;
      print(`the tour failed: ${(error as Error).message}. The stack runs on.`);
    }
  }
  const status = statusOf(stack.home);
  // Stopped by Ctrl-C during the tour.
  if (status.state !== 'running') return;
  const output = options.output ?? ((text) => process.stdout.write(text));
  output(options.json ? `${JSON.stringify(status, undefined, 2)}\n` : renderStatus(status));
  if (!options.json) print(options.detach ? 'Stop it with: npx steward local stop' : 'Ctrl-C stops it.');
}

export interface StopOptions {
  home?: string;
  print?: (line: string) => void;
}

export interface StopResult {
  /** `cleaned-up`: the supervisor had been killed before, and what it left was ended. */
  outcome: 'stopped' | 'not-running' | 'cleaned-up';
}

/** How long an orderly stop may take, then a hastened one. */
const STOP_WITHIN_MS = 60_000;
const HASTENED_WITHIN_MS = 15_000;

/**
 * Stops the stack of a home, also one whose supervisor was killed; not running is a result, no error.
 *
 * @throws LocalStackError STOP_FAILED when another start or stop keeps the stack to itself
 */
export async function stopLocal(options: StopOptions = {}): Promise<StopResult> {
  const home = options.home ?? stewardHome();
  const print = options.print ?? toStderr;
  const layout = layoutOf(home);
  if (!existsSync(layout.run)) {
    print(`no stack runs in ${home}`);
    return { outcome: 'not-running' };
  }
  let outcome: StopResult['outcome'] = 'not-running';
  for (let attempt = 0; attempt < 200; attempt++) {
    const result = await tryLock(layout.lock);
    if (result.held) {
      try {
        const stack = readStack(home);
        if (stack === undefined) {
          print(
            outcome === 'stopped' ? `stopped; the data stay in ${layout.data}` : `no stack runs in ${home}`,
          );
          return { outcome };
        }
        print(`the supervisor (pid ${stack.supervisor.pid}) is gone without a stop`);
        await endLeftovers(stack, print);
        if (outcome === 'not-running') outcome = 'cleaned-up';
        return { outcome };
      } finally {
        await result.lock.release();
      }
    }
    const { holder } = result;
    const supervisor = readStack(home)?.supervisor;
    // Else the lock is held by a start or stop that is only about to begin, or to end.
    if (supervisor?.pid === holder.pid && supervisor.startedAt === holder.startedAt) {
      print(`stopping the stack (supervisor pid ${holder.pid})`);
      await stopSupervisor(holder, home, print);
      outcome = 'stopped';
    }
    await sleep(100);
  }
  throw new LocalStackError(
    'STOP_FAILED',
    `another start or stop keeps the stack in ${home} to itself: see steward local status, and repeat`,
  );
}

async function stopSupervisor(
  supervisor: ProcessIdentity,
  home: string,
  print: (line: string) => void,
): Promise<void> {
  const told = new Set<string>();
  const tell = setInterval(() => {
    for (const { name, state } of readStack(home)?.processes ?? []) {
      if (state === 'stopped' && !told.has(name)) print(`stopped ${name}`);
      if (state === 'stopped') told.add(name);
    }
  }, 30);
  try {
    signalProcess(supervisor, 'SIGTERM');
    if (await waitUntilGone(supervisor, STOP_WITHIN_MS)) return;
    print('the stack does not stop in time: killing what is left');
    signalProcess(supervisor, 'SIGTERM');
    if (await waitUntilGone(supervisor, HASTENED_WITHIN_MS)) return;
    signalProcess(supervisor, 'SIGKILL');
    await waitUntilGone(supervisor, HASTENED_WITHIN_MS);
  } finally {
    clearInterval(tell);
  }
}

/** What runs; reads only, and needs no supervisor. */
export async function localStatus(options: { home?: string } = {}): Promise<LocalStatus> {
  return await Promise.resolve(statusOf(options.home ?? stewardHome()));
}

function toStderr(line: string): void {
  process.stderr.write(`${line}\n`);
}
