import {
  connect as connectSession,
  constants,
  createSecureServer,
  type SecureServerOptions,
} from 'node:http2';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { createServer, type TlsOptions } from 'node:tls';

export interface TlsProxy {
  readonly address: string;
  /** Who was let in, by the common names of the certificates. */
  readonly callers: ReadonlySet<string>;
  /** Other certificates, from the next connection on; those that are open end. */
  replace(options: TlsOptions): void;
  close(): Promise<void>;
}

/** Takes TLS (HTTP/2, as gRPC wants it) and gives the bytes on in plain text, as a balancer before a Temporal does. */
export async function startTlsProxy(target: string, options: TlsOptions): Promise<TlsProxy> {
  const [host, port] = target.split(':') as [string, string];
  const sockets = new Set<Socket>();
  const callers = new Set<string>();
  const kept = (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.once('close', () => sockets.delete(socket));
  };
  const server = createServer({ ...options, ALPNProtocols: ['h2'] }, (caller) => {
    const name = caller.getPeerCertificate().subject?.CN;
    if (typeof name === 'string') callers.add(name);
    const onward = connect({ host, port: Number(port) });
    kept(caller);
    kept(onward);
    caller.once('close', () => onward.destroy());
    onward.once('close', () => caller.destroy());
    caller.pipe(onward).pipe(caller);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    address: `localhost:${(server.address() as AddressInfo).port}`,
    callers,
    replace(changed) {
      server.setSecureContext(changed);
      for (const socket of sockets) socket.destroy();
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

export interface KeyedProxy {
  readonly address: string;
  /** The keys that are let in; changed at will. */
  readonly accepted: Set<string>;
  close(): Promise<void>;
}

/** Lets calls in over TLS whose API key is accepted, as Temporal Cloud does; others get gRPC's UNAUTHENTICATED. */
export async function startKeyedProxy(
  target: string,
  accepted: Set<string>,
  options: SecureServerOptions,
): Promise<KeyedProxy> {
  const onward = connectSession(`http://${target}`);
  onward.on('error', () => {});
  const server = createSecureServer({ ...options, allowHTTP1: false });
  const sessions = new Set<{ destroy(): void }>();
  server.on('session', (session) => {
    sessions.add(session);
    session.once('close', () => sessions.delete(session));
    session.on('error', () => {});
  });
  server.on('stream', (stream, headers) => {
    stream.on('error', () => {});
    const key = /^Bearer (.+)$/.exec(headers.authorization ?? '')?.[1];
    if (key === undefined || !accepted.has(key)) {
      stream.respond(
        {
          ':status': 200,
          'content-type': 'application/grpc',
          'grpc-status': '16',
          'grpc-message': 'this API key is not known',
        },
        { endStream: true },
      );
      return;
    }
    const call = onward.request({ ...headers, ':authority': target, ':scheme': 'http' });
    stream.once('close', () => call.close());
    call.on('error', () => stream.close());
    call.once('response', (answer, flags) => {
      // An error has no body: its headers are all there is.
      const whole = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0;
      stream.respond(answer, whole ? { endStream: true } : { waitForTrailers: true });
      if (!whole) call.pipe(stream);
    });
    let trailers = {};
    call.once('trailers', (received) => {
      trailers = received;
    });
    stream.once('wantTrailers', () => stream.sendTrailers(trailers));
    stream.pipe(call);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    address: `localhost:${(server.address() as AddressInfo).port}`,
    accepted,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const session of sessions) session.destroy();
        onward.destroy();
      }),
  };
}
