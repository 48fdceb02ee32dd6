import { identityOf, isAlive, type ProcessIdentity } from '../process-identity.js';
import { controlSocketPath, listenForControl, removeControlSocket } from './control.js';
import { LocalStackError } from './errors.js';
import { type Layout, layoutOf, makeDirectories } from './layout.js';
import { endLeftovers } from './leftovers.js';
import { tryLock } from './lock.js';
import { choosePorts, type PortNeed, type Ports } from './port-choice.js';
import {
  type RunningStack,
  readStack,
  removeStack,
  type Stack,
  type StackAddresses,
  writeStack,
} from './stack-file.js';
import { type Service, Supervisor } from './supervisor.js';

/** What a stack consists of; `stewardPlan` is the real one. */
export interface StackPlan {
  ports: readonly PortNeed[];
  /** Makes ready what the services need, and says how they are started. */
  prepare(context: PlanContext): Promise<{ services: Service[]; addresses: StackAddresses }>;
}

export interface PlanContext {
  layout: Layout;
  port: (name: string) => number;
  print: (line: string) => void;
  signal: AbortSignal;
}

export interface StackOptions {
  home: string;
  plan: StackPlan;
  /** By name: ports that the user insists on. */
  ports: Readonly<Record<string, number | undefined>>;
  print: (line: string) => void;
  stop: AbortSignal;
  hasten: AbortSignal;
  /** Called when every process serves; its end is not waited for. */
  onRunning: (stack: RunningStack) => void;
}

/**
 * Runs a stack in this process, its supervisor: from the lock to the last process gone. Resolves when it was stopped in
 * order. Whatever happens, short of SIGKILL, no process is left and the data stay.
 *
 * @throws LocalStackError ALREADY_RUNNING, PORT_IN_USE (nothing was started), START_FAILED (all was stopped again)
 */
export async function runStack(options: StackOptions): Promise<void> {
  const { home, print } = options;
  const layout = layoutOf(home);
  makeDirectories(layout);
  const result = await tryLock(layout.lock);
  if (!result.held) throw alreadyRunning(home, result.holder);
  try {
    const former = formerStack(home, print);
    if (former !== undefined) {
      print(
        `the supervisor of the last run (pid ${former.supervisor.pid}) is gone without a stop: going on from its data`,
      );
      await endLeftovers(former, print);
    }
    const ports = await choosePorts({
      needs: options.plan.ports,
      asked: options.ports,
      file: layout.portsFile,
      print,
    });
    await runLocked(layout, ports, options);
  } finally {
    await result.lock.release();
  }
}

async function runLocked(layout: Layout, ports: Ports, options: StackOptions): Promise<void> {
  const { plan, print, stop, hasten } = options;
  const supervisorIdentity = identityOf(process.pid);
  if (supervisorIdentity === undefined)
    throw new Error(`the start time of process ${process.pid} cannot be read`);
  const stack: Stack = {
    version: 1,
    state: 'starting',
    supervisor: supervisorIdentity,
    startedAt: new Date().toISOString(),
    control: controlSocketPath(layout.run),
    ports,
    processes: [],
  };
  const record = (change: Partial<Stack>) => writeStack(layout.home, Object.assign(stack, change));
  let supervisor: Supervisor | undefined;
  try {
    record({});
    const { services, addresses } = await plan.prepare({
      layout,
      port: (name) => {
        const port = ports[name];
        if (port === undefined) throw new Error(`the plan did not ask for a port ${name}`);
        return port;
      },
      print,
      signal: stop,
    });
    record({ addresses });
    supervisor = new Supervisor({ services, onChange: (processes) => record({ processes }), print });
    await supervisor.start(stop);
    const control = await listenForControl(stack.control, supervisor);
    record({ state: 'running' });
    options.onRunning({ ...stack, addresses, home: layout.home });
    if (!stop.aborted)
      await new Promise((resolve) => stop.addEventListener('abort', resolve, { once: true }));
    control.close();
    control.closeAllConnections();
  } catch (error) {
    throw stop.aborted
      ? new LocalStackError('START_FAILED', `the start was given up: ${(stop.reason as Error).message}`)
      : LocalStackError.from(error, 'START_FAILED');
  } finally {
    record({ state: 'stopping' });
    await supervisor?.stop(hasten);
    removeControlSocket(stack.control);
    removeStack(layout.home);
  }
}

/** What a supervisor that is gone has written; a file that cannot be read holds up nothing. */
function formerStack(home: string, print: (line: string) => void): ReturnType<typeof readStack> {
  try {
    return readStack(home);
  } catch (error) {
    print(`${(error as Error).message.split(':')[0]}: ignoring it`);
    removeStack(home);
    return undefined;
  }
}

/** What a start is refused with while the process `holder` runs the stack. */
export function alreadyRunning(home: string, holder: ProcessIdentity): LocalStackError {
  let stack: ReturnType<typeof readStack>;
  try {
    stack = readStack(home);
  } catch {
    // The pid says enough.
  }
  const known = stack !== undefined && isAlive(stack.supervisor) ? stack : undefined;
  const state = known?.state ?? 'starting';
  const urls = [
    known?.addresses?.webUi && `Web UI ${known.addresses.webUi}`,
    known?.addresses && `coordinator ${known.addresses.coordinator}`,
  ].filter((url) => url !== undefined);
  return new LocalStackError(
    'ALREADY_RUNNING',
    [`the local stack in ${home} is ${state} already (supervisor pid ${holder.pid})`, ...urls].join('; ') +
      '. Nothing was changed. See steward local status, or steward local stop.',
  );
}
