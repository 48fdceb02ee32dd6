import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, request, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { z } from 'zod';
import { isAlive } from '../process-identity.js';
import { LocalStackError } from './errors.js';
import { stewardHome } from './layout.js';
import { readStack } from './stack-file.js';
import type { Supervisor } from './supervisor.js';

/** What a person, or a test, does to one process of a running stack. */
export const ControlCommand = z.discriminatedUnion('action', [
  /** SIGKILL. It stays down, or comes back after a while. */
  z.object({
    action: z.literal('kill'),
    process: z.string(),
    restartAfterMs: z.number().int().min(0).optional(),
  }),
  /** Ends it in order when it runs, starts it, and answers when it serves. */
  z.object({ action: z.literal('restart'), process: z.string() }),
  /** SIGSTOP: it is there and answers nothing. */
  z.object({ action: z.literal('pause'), process: z.string() }),
  /** SIGCONT */
  z.object({ action: z.literal('resume'), process: z.string() }),
]);
export type ControlCommand = z.infer<typeof ControlCommand>;

/** The path of a Unix socket has to fit into 108 bytes on Linux and 104 on macOS, the final zero included. */
const LONGEST_SOCKET_PATH = 100;

/** Where the supervisor listens: in the run directory, or, when that is too deep, in a new private directory of /tmp. */
export function controlSocketPath(runDirectory: string): string {
  const path = join(runDirectory, 'control.sock');
  if (Buffer.byteLength(path) <= LONGEST_SOCKET_PATH) return path;
  return join(mkdtempSync(join(tmpdir(), 'steward-control-')), 'control.sock');
}

/** Removes the socket, and its directory when that was made for it. */
export function removeControlSocket(path: string): void {
  rmSync(path, { force: true });
  if (dirname(path).startsWith(join(tmpdir(), 'steward-control-'))) {
    rmSync(dirname(path), { recursive: true, force: true });
  }
}

/** Takes commands, one HTTP request each, from whoever may open the socket: the user who started the stack. */
export async function listenForControl(path: string, supervisor: Supervisor): Promise<Server> {
  rmSync(path, { force: true });
  const server = createServer((incoming, response) => {
    void (async () => {
      try {
        await obey(supervisor, ControlCommand.parse(JSON.parse(await text(incoming))));
        response.writeHead(200).end('{}');
      } catch (error) {
        const { code, message } = LocalStackError.from(error, 'START_FAILED');
        response.writeHead(400).end(JSON.stringify({ code, message }));
      }
    })();
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  return server;
}

async function obey(supervisor: Supervisor, command: ControlCommand): Promise<void> {
  switch (command.action) {
    case 'kill':
      return await supervisor.kill(command.process, command.restartAfterMs);
    case 'restart':
      return await supervisor.restart(command.process);
    case 'pause':
      return supervisor.pause(command.process);
    case 'resume':
      return supervisor.resume(command.process);
  }
}

/**
 * Has the running stack's supervisor do something to one of its processes; resolves when it is done.
 *
 * @throws LocalStackError NOT_RUNNING, UNKNOWN_PROCESS, WRONG_STATE (pause and resume of what does not run), or
 * START_FAILED when a process does not come back
 */
export async function controlStack(command: ControlCommand, home = stewardHome()): Promise<void> {
  const stack = readStack(home);
  if (stack === undefined || stack.state !== 'running' || !isAlive(stack.supervisor)) {
    throw new LocalStackError(
      'NOT_RUNNING',
      `no local stack runs in ${home}: start it with steward local start`,
    );
  }
  const { status, body } = await post(stack.control, JSON.stringify(command));
  if (status === 200) return;
  const { code, message } = Refusal.parse(JSON.parse(body));
  throw new LocalStackError(code, message);
}

const Refusal = z.object({
  code: z.enum(['UNKNOWN_PROCESS', 'WRONG_STATE', 'START_FAILED']).catch('START_FAILED'),
  message: z.string(),
});

function post(socketPath: string, body: string): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ socketPath, method: 'POST', path: '/' }, (response) => {
      text(response).then((answer) => resolve({ status: response.statusCode ?? 0, body: answer }), reject);
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}
