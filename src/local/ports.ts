import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';
import getPort from 'get-port';

/**
 * Below the range from which systems take the ports of outgoing connections (32768 and up): a port that a process has to
 * find free again when it restarts must not be lent to a connection in between.
 */
const FIRST = 20_000;
const LAST = 29_999;

/** A free port of 127.0.0.1 that this process has not got before; `preferred` is tried first. */
export async function freePort(...preferred: readonly number[]): Promise<number> {
  const candidates = Array.from({ length: 100 }, () => randomInt(FIRST, LAST + 1));
  return await getPort({ host: '127.0.0.1', port: [...preferred, ...candidates], reserve: true });
}

/** Whether a server could listen on this port of 127.0.0.1 now. */
export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE' || error.code === 'EACCES') resolve(false);
      else reject(error);
    });
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)));
  });
}
