import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';
import getPort from 'get-port';

/** Below what systems lend to outgoing connections (32768 and up), and apart from what a local stack takes (20000 and up). */
const FIRST = 10_000;
const LAST = 19_999;

/**
 * A free port of 127.0.0.1 that stays this test process's own until that ends, also while nothing listens on it: no other test
 * process gets it, of this run or of one beside it. What starts again finds its port free.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const candidates = Array.from({ length: 100 }, () => randomInt(FIRST, LAST + 1));
    const port = await getPort({ host: '127.0.0.1', port: candidates, reserve: true });
    if (await claim(port)) return port;
  }
}

/** The same port of 127.0.0.2, where no test listens, is the claim: it ends with its process, however that ends. */
function claim(port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer().unref();
    server.once('error', ({ code, message }: NodeJS.ErrnoException) => {
      if (code === 'EADDRINUSE') resolve(false);
      // A system without that address has the odds alone.
      else if (code === 'EADDRNOTAVAIL') resolve(true);
      else reject(new Error(`port ${port} cannot be claimed: ${message}`));
    });
    server.listen({ port, host: '127.0.0.2', exclusive: true }, () => resolve(true));
  });
}
