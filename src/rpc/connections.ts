import type { Http2Session, ServerHttp2Session } from 'node:http2';
import type { Socket } from 'node:net';
import type { TransportLimits } from '../model/transport.js';
import type { OccasionalLog } from './occasional-log.js';

/** One caller's connection, from its first packet on. */
interface Connection {
  readonly socket: Socket;
  session: ServerHttp2Session | undefined;
  /** Calls under way. */
  calls: number;
  /** Had a call that was let in. */
  known: boolean;
  /** Milliseconds of `performance.now()`. */
  idleSince: number;
  timer: NodeJS.Timeout | undefined;
}

/**
 * The connections of a server, of which there are never more than the limit. A newcomer takes the place of an idle
 * connection: strangers' first, then the longest idle one, whose honest caller connects again when it has a call. So
 * nobody can keep others out by holding connections. One without a first call in time is cut, and later on one that idles
 * for very long is closed.
 */
export class Connections {
  readonly #all = new Map<string, Connection>();

  constructor(
    private readonly limits: TransportLimits,
    private readonly log: OccasionalLog,
  ) {}

  get count(): number {
    return this.#all.size;
  }

  add(socket: Socket): void {
    if (this.#all.size >= this.limits.maxConnections && !this.#makeRoom()) {
      this.log.warn('a connection was refused: there are too many, and all have calls under way', {
        from: socket.remoteAddress,
        connections: this.#all.size,
      });
      socket.destroy();
      return;
    }
    const key = keyOf(socket);
    const connection: Connection = {
      socket,
      session: undefined,
      calls: 0,
      known: false,
      idleSince: performance.now(),
      timer: undefined,
    };
    this.#all.set(key, connection);
    socket.once('close', () => {
      clearTimeout(connection.timer);
      if (this.#all.get(key) === connection) this.#all.delete(key);
    });
    connection.timer = setTimeout(() => {
      this.log.warn('a connection was cut: it made no call in time', { from: socket.remoteAddress });
      socket.destroy();
    }, this.limits.headerTimeoutMs);
  }

  opened(session: ServerHttp2Session): void {
    const connection = this.#of(session);
    if (connection === undefined) session.destroy();
    else connection.session = session;
  }

  /** A call begins; answers what to call when it is over. */
  begin(session: Http2Session | undefined, known: boolean): () => void {
    const connection = session && this.#of(session);
    if (connection === undefined) return () => {};
    clearTimeout(connection.timer);
    connection.calls += 1;
    connection.known ||= known;
    return () => {
      connection.calls -= 1;
      if (connection.calls > 0) return;
      connection.idleSince = performance.now();
      clearTimeout(connection.timer);
      // A stranger's next call has no more time than its first.
      const { idleTimeoutMs, headerTimeoutMs } = this.limits;
      const cut = () => connection.session?.close();
      if (!connection.socket.destroyed)
        connection.timer = setTimeout(cut, connection.known ? idleTimeoutMs : headerTimeoutMs).unref();
    };
  }

  /** Ends each when its calls are over; callers connect anew. */
  closeGracefully(): void {
    for (const { session, socket } of this.#all.values()) {
      if (session === undefined) socket.destroy();
      else session.close();
    }
  }

  destroyAll(): void {
    for (const { session, socket } of this.#all.values()) {
      session?.destroy();
      socket.destroy();
    }
  }

  #makeRoom(): boolean {
    let victim: Connection | undefined;
    for (const connection of this.#all.values()) {
      if (connection.calls > 0) continue;
      if (
        victim === undefined ||
        Number(connection.known) - Number(victim.known) < 0 ||
        (connection.known === victim.known && connection.idleSince < victim.idleSince)
      )
        victim = connection;
    }
    if (victim === undefined) return false;
    this.log.warn('an idle connection made room for a new one: there are too many', {
      from: victim.socket.remoteAddress,
      connections: this.#all.size,
    });
    this.#all.delete(keyOf(victim.socket));
    victim.session?.destroy();
    victim.socket.destroy();
    return true;
  }

  #of(session: Http2Session): Connection | undefined {
    // Under TLS the session's socket is another object than the one that was accepted.
    return session.destroyed ? undefined : this.#all.get(keyOf(session.socket));
  }
}

function keyOf({ remoteAddress, remotePort }: Pick<Socket, 'remoteAddress' | 'remotePort'>): string {
  return `${remoteAddress} ${remotePort}`;
}
