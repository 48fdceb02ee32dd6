import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { z } from 'zod';
import { ProcessIdentity } from '../process-identity.js';
import { layoutOf, stewardHome } from './layout.js';

export const ProcessState = z.enum([
  /** Was started, does not serve yet. */
  'starting',
  'running',
  /** Died, and is started again after its back-off. */
  'waiting',
  /** Held by `pause`. */
  'paused',
  /** Ended by a person, or with the stack. */
  'stopped',
]);
export type ProcessState = z.infer<typeof ProcessState>;

export const StackProcess = z.object({
  name: z.string(),
  state: ProcessState,
  /** Of the process that runs, if any. */
  identity: ProcessIdentity.optional(),
  /** How often it was started again after it died. */
  restarts: z.number().int(),
  log: z.string(),
  /** What a process that outlived its supervisor is ended with. */
  stopSignal: z.enum(['SIGTERM', 'SIGINT']),
});
export type StackProcess = z.infer<typeof StackProcess>;

export const StackAddresses = z.object({
  /** Holds the password. */
  databaseUrl: z.string(),
  temporal: z.string(),
  temporalNamespace: z.string(),
  /** Absent when the Temporal server is not ours. */
  webUi: z.string().optional(),
  coordinator: z.string(),
  /** URL by node id. */
  nodes: z.record(z.string(), z.string()),
});
export type StackAddresses = z.infer<typeof StackAddresses>;

/** The content of `.steward/run/stack.json`: what runs, from the first process of a start to the last of a stop. */
export const Stack = z.object({
  version: z.literal(1),
  state: z.enum(['starting', 'running', 'stopping']),
  supervisor: ProcessIdentity,
  startedAt: z.iso.datetime(),
  /** Of the socket on which the supervisor takes commands. */
  control: z.string(),
  /** By name: `postgres`, `temporal`, `ui`, `coordinator`, and the nodes. */
  ports: z.record(z.string(), z.number().int()),
  /** Absent until they are known. */
  addresses: StackAddresses.optional(),
  /** In the order in which a shutdown ends them. */
  processes: z.array(StackProcess),
});
export type Stack = z.infer<typeof Stack>;

/** A stack that serves. */
export type RunningStack = Stack & { home: string; addresses: StackAddresses };

/**
 * What the stack in `home` ($STEWARD_HOME, else ./.steward) has written about itself; `undefined` when none runs. The
 * supervisor may have been killed since: `localStatus` looks at that.
 *
 * @throws Error when the file is damaged
 */
export function readStack(home = stewardHome()): (Stack & { home: string }) | undefined {
  const { stackFile } = layoutOf(home);
  let text: string;
  try {
    text = readFileSync(stackFile, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch {
    throw damaged(stackFile, 'it is not JSON');
  }
  const parsed = Stack.safeParse(content);
  if (!parsed.success) throw damaged(stackFile, z.prettifyError(parsed.error).replaceAll('\n', ' '));
  return { ...parsed.data, home };
}

/** Atomically: a reader sees the old or the new content. Synchronously: no process is left unrecorded by a crash. */
export function writeStack(home: string, stack: Stack): void {
  const { stackFile } = layoutOf(home);
  const temporary = `${stackFile}.${process.pid}`;
  writeFileSync(temporary, `${JSON.stringify(stack, undefined, 2)}\n`, { mode: 0o600 });
  renameSync(temporary, stackFile);
}

export function removeStack(home: string): void {
  rmSync(layoutOf(home).stackFile, { force: true });
}

function damaged(file: string, why: string): Error {
  return new Error(`${file} cannot be read (${why}): remove it, then repeat`);
}
