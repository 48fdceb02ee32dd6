import { endProcess, isAlive } from '../process-identity.js';
import { removeControlSocket } from './control.js';
import { removeStack, type Stack } from './stack-file.js';

/** The processes of a stack that still run although its supervisor is gone. */
export function leftovers(stack: Stack): { name: string; pid: number }[] {
  return stack.processes.flatMap(({ name, identity }) =>
    identity !== undefined && isAlive(identity) ? [{ name, pid: identity.pid }] : [],
  );
}

/**
 * Ends what a killed supervisor left behind, in the order of a shutdown, and forgets it. Only the very processes that
 * were recorded are touched; a pid that belongs to somebody else by now is left alone. Call it with the lock held.
 */
export async function endLeftovers(
  stack: Stack & { home: string },
  print: (line: string) => void,
): Promise<string[]> {
  const ended: string[] = [];
  for (const { name, identity, stopSignal } of stack.processes) {
    if (identity === undefined || !isAlive(identity)) continue;
    print(`stopping ${name} (pid ${identity.pid}), left by a supervisor that was killed`);
    await endProcess(identity, stopSignal, 20_000);
    ended.push(name);
  }
  removeControlSocket(stack.control);
  removeStack(stack.home);
  return ended;
}
