import {
  constants,
  createSecureServer,
  createServer,
  type Http2SecureServer,
  type Http2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type SecureServerOptions,
  type ServerOptions,
} from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { Code } from '@connectrpc/connect';
import { type ConnectNodeAdapterOptions, connectNodeAdapter } from '@connectrpc/connect-node';
import type { Logger } from '../log.js';
import { addressOf } from '../model/listen-address.js';
import { MAX_HEADER_BYTES, MAX_RESPONSE_BYTES } from '../model/transport.js';
import { takeCallContext } from './baggage.js';
import { takeTrace } from './call-spans.js';
import { Connections } from './connections.js';
import { type Credentials, present } from './credentials.js';
import { OccasionalLog } from './occasional-log.js';
import { checkListening } from './plain-text.js';
import { endAfterAnswer, type Refusal, refuse } from './refusal.js';

type Handler = Pick<ConnectNodeAdapterOptions, 'routes' | 'interceptors' | 'contextValues'>;

/** A call whose body has not come whole yet. */
interface Arriving {
  readonly since: number;
  cut(why: string): void;
}

/** A call that came just now gets this long for its body before it has to give way. In milliseconds. */
const FIRST_PATIENCE_MS = 1_000;

const NO_TOKEN: Refusal = {
  code: Code.Unauthenticated,
  message:
    'the call has no token, or one that is not accepted here: STEWARD_TOKEN_FILE must name a file whose first line is one',
};
const NO_CERTIFICATE: Refusal = {
  code: Code.Unauthenticated,
  message:
    'the caller showed no certificate, or one that is not believed here: STEWARD_TLS_CERT and STEWARD_TLS_KEY must name ' +
    'one of the CA that this server believes',
};
const TOO_MANY_CALLS: Refusal = {
  code: Code.ResourceExhausted,
  message: 'too many calls are under way here: ask again later',
};

/**
 * Serves Connect (protobuf and JSON) and gRPC over HTTP/2 on one port: with a certificate over TLS, otherwise in plain
 * text. Who calls is checked at the headers, before any of the body is read. No caller can take more than the limits:
 * who is slow or too big is cut, who is one too many waits or is told so.
 */
export class RpcServer {
  readonly #server: Http2Server | Http2SecureServer;
  readonly #connections: Connections;
  readonly #secure: boolean;
  readonly #log: OccasionalLog;
  readonly #arriving = new Set<Arriving>();
  #calls = 0;
  readonly #forget: () => void;

  constructor(
    handler: Handler,
    private readonly credentials: Credentials,
    log: Logger,
  ) {
    const { limits } = credentials.settings;
    this.#log = new OccasionalLog(log);
    this.#connections = new Connections(limits, this.#log);
    const adapter = connectNodeAdapter({
      ...handler,
      interceptors: [takeTrace, takeCallContext, ...(handler.interceptors ?? [])],
      // Those who call each other are near: compressing costs more time than it saves.
      compressMinBytes: 1 << 20,
      readMaxBytes: limits.maxRequestBytes,
      writeMaxBytes: MAX_RESPONSE_BYTES,
    });
    const listener = (request: Http2ServerRequest, response: Http2ServerResponse): void =>
      this.#take(request, () => adapter(request, response));
    this.#secure = credentials.tls.cert !== undefined;
    this.#server = this.#secure
      ? createSecureServer(this.#secureOptions(), listener)
      : createServer(this.#options(), listener);
    // Before the HTTP/2 server itself sees the connection and makes a session of it.
    this.#server.prependListener('connection', (socket: Socket) => this.#connections.add(socket));
    this.#server.on('session', (session) => this.#connections.opened(session));
    this.#server.on('tlsClientError', (error: NodeJS.ErrnoException, socket: TLSSocket) => {
      const reason = error.code ?? error.message;
      this.#log.warn('a TLS handshake failed', { from: socket.remoteAddress, reason });
    });
    this.#server.on('sessionError', (error: NodeJS.ErrnoException) => {
      this.#log.warn('a connection broke off', { reason: error.code ?? error.message });
    });
    this.#forget = credentials.onChange(() => this.#renew());
  }

  /** Resolves with the base URL at which the server answers. Throws WrongTransport for plain text beyond loopback. */
  async listen(host: string, port: number): Promise<string> {
    checkListening(host, this.credentials.settings);
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, host, () => resolve());
    });
    const { address, port: bound } = this.#server.address() as AddressInfo;
    return `${this.#secure ? 'https' : 'http'}://${addressOf({ host: address, port: bound })}`;
  }

  /** Takes no more calls; those under way are answered first, for at most `graceMs`. */
  async close(graceMs: number): Promise<void> {
    this.#forget();
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#connections.closeGracefully();
    const cut = setTimeout(() => this.#connections.destroyAll(), graceMs);
    await closed;
    clearTimeout(cut);
  }

  #options(): ServerOptions {
    const { maxStreams } = this.credentials.settings.limits;
    return { settings: { maxConcurrentStreams: maxStreams, maxHeaderListSize: MAX_HEADER_BYTES } };
  }

  #secureOptions(): SecureServerOptions {
    const { limits, clientAuth } = this.credentials.settings;
    return {
      ...this.#options(),
      ...present(this.credentials.tls),
      // A caller without a good certificate is answered why, as one without a token is, instead of a torn connection.
      requestCert: clientAuth,
      rejectUnauthorized: false,
      handshakeTimeout: limits.headerTimeoutMs,
      minVersion: 'TLSv1.2',
    };
  }

  /** New connections get the new certificate and are held to the new CA; the old ones end with their calls. */
  #renew(): void {
    if (!('setSecureContext' in this.#server)) return;
    this.#server.setSecureContext({ ...present(this.credentials.tls), minVersion: 'TLSv1.2' });
    this.#connections.closeGracefully();
  }

  #take(request: Http2ServerRequest, handle: () => void): void {
    const { stream } = request;
    const refusal = this.#stranger(request);
    const over = this.#connections.begin(stream.session, refusal === undefined);
    stream.once('close', over);
    if (refusal !== undefined) {
      this.#log.warn(`a call was refused: ${refusal.message}`, { from: request.socket.remoteAddress });
      refuse(stream, request.headers['content-type'], refusal);
      return;
    }
    if (this.#calls >= this.credentials.settings.limits.maxCalls && !this.#makeRoom()) {
      this.#log.warn('a call was refused: too many are under way', { from: request.socket.remoteAddress });
      refuse(stream, request.headers['content-type'], TOO_MANY_CALLS);
      return;
    }
    this.#follow(request);
    endAfterAnswer(stream, 'wantTrailers');
    handle();
  }

  /** Why this caller is not let in. The answer is the same for what is missing and what is wrong. */
  #stranger(request: Http2ServerRequest): Refusal | undefined {
    const { settings, tokens } = this.credentials;
    if (settings.clientAuth && !(request.stream.session?.socket as TLSSocket | undefined)?.authorized)
      return NO_CERTIFICATE;
    return tokens === undefined || tokens.accept(request.headers.authorization) ? undefined : NO_TOKEN;
  }

  /** Counts the call until its stream is closed, and cuts it when its body or its answer takes too long. */
  #follow({ stream, url, socket }: Http2ServerRequest): void {
    const { bodyTimeoutMs, callTimeoutMs } = this.credentials.settings.limits;
    const from = socket.remoteAddress;
    const cut = (why: string): void => {
      this.#log.warn(`a call was cut: ${why}`, { from, call: url.slice(0, 128) });
      stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    };
    const arriving: Arriving = { since: performance.now(), cut };
    this.#arriving.add(arriving);
    this.#calls += 1;
    const body = setTimeout(() => cut('its body did not come in time'), bodyTimeoutMs);
    const answer = setTimeout(() => cut('its answer was not taken in time'), callTimeoutMs);
    const arrived = (): void => {
      clearTimeout(body);
      this.#arriving.delete(arriving);
    };
    stream.once('end', arrived);
    stream.once('close', () => {
      arrived();
      clearTimeout(answer);
      this.#calls -= 1;
    });
  }

  /** The oldest call whose body has not come whole gives way; an honest one comes with its headers, or nearly so. */
  #makeRoom(): boolean {
    const [oldest] = this.#arriving;
    if (oldest === undefined || performance.now() - oldest.since < FIRST_PATIENCE_MS) return false;
    this.#arriving.delete(oldest);
    oldest.cut('its body was slow while too many calls were under way');
    return true;
  }
}
