import { connect, createServer, type Socket } from 'node:net';
import { freePort } from './ports.js';

/** Gives each connection to the next target that takes it. */
export async function startProxy(
  targets: readonly string[],
): Promise<{ address: string; close(): Promise<void> }> {
  let turn = 0;
  const sockets = new Set<Socket>();
  const kept = (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.once('close', () => sockets.delete(socket));
    return socket;
  };
  const server = createServer((caller) => {
    kept(caller);
    const tries = targets.map((_, index) => targets[(turn + index) % targets.length]!);
    turn += 1;
    const next = () => {
      const target = tries.shift();
      if (target === undefined) return caller.destroy();
      const [host, port] = target.split(':');
      const server = kept(connect({ host: host!, port: Number(port) }));
      server.once('error', next);
      server.once('connect', () => {
        server.off('error', next);
        caller.pipe(server).pipe(caller);
        for (const [one, other] of [
          [caller, server],
          [server, caller],
        ] as const)
          one.once('close', () => other.destroy());
      });
    };
    next();
  });
  const port = await freePort();
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return {
    address: `127.0.0.1:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}
