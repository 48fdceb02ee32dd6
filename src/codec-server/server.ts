import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { createServer as createSecureServer, Server as SecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { PayloadCodec } from '@temporalio/common';
import type { Logger } from '../log.js';
import { messageOf } from '../message-of.js';
import { addressOf } from '../model/listen-address.js';
import { MAX_HEADER_BYTES } from '../model/transport.js';
import { type Credentials, present } from '../rpc/credentials.js';
import { OccasionalLog } from '../rpc/occasional-log.js';
import { checkListening } from '../rpc/plain-text.js';
import { UndecryptablePayload } from '../temporal/payload-encryption.js';
import { payloadsJson, readPayloads } from './payloads-json.js';
import { cookieFor, SIGNED_IN_PAGE, signInPage, tokenOfCookie, tokenOfForm } from './sign-in.js';

/** What is told to a caller in place of an answer. */
class Refused extends Error {
  constructor(
    readonly status: 400 | 401 | 403 | 404 | 405 | 413,
    message: string,
  ) {
    super(message);
  }
}

const TRANSFORMS = { '/encode': 'encode', '/decode': 'decode' } as const;

/**
 * Temporal's remote codec: `POST /decode` and `/encode`, for its Web UI and the `temporal` command, which have no keys. It
 * answers only who has a token, as a bearer token or, from browsers, as the cookie that `GET /` asks for; and only pages
 * of the given origins may read its answers (CORS). Neither tokens nor payloads are logged.
 */
export class CodecServer {
  readonly #server: Server | SecureServer;
  readonly #secure: boolean;
  readonly #log: OccasionalLog;
  readonly #forget: () => void;

  /** @param origins of the Web UI, as a browser sends them: `https://temporal.example` */
  constructor(
    private readonly codec: PayloadCodec,
    private readonly credentials: Credentials,
    private readonly origins: readonly string[],
    log: Pick<Logger, 'warn'>,
  ) {
    this.#log = new OccasionalLog(log);
    const { limits, clientAuth } = credentials.settings;
    this.#secure = credentials.tls.cert !== undefined;
    const options = {
      headersTimeout: limits.headerTimeoutMs,
      requestTimeout: limits.headerTimeoutMs + limits.bodyTimeoutMs,
      maxHeaderSize: MAX_HEADER_BYTES,
    };
    const listener = (request: IncomingMessage, response: ServerResponse) =>
      void this.#take(request, response);
    this.#server = this.#secure
      ? createSecureServer(
          { ...options, ...this.#certificate(), requestCert: clientAuth, rejectUnauthorized: clientAuth },
          listener,
        )
      : createServer(options, listener);
    this.#server.maxConnections = limits.maxConnections;
    this.#server.on('tlsClientError', (error: NodeJS.ErrnoException) =>
      this.#log.warn('a TLS handshake failed', { reason: error.code ?? error.message }),
    );
    this.#forget = credentials.onChange(() => {
      if (this.#server instanceof SecureServer) this.#server.setSecureContext(this.#certificate());
    });
  }

  /** Resolves with the base URL at which the server answers. Throws WrongTransport for plain text beyond loopback. */
  async listen(host: string, port: number): Promise<string> {
    checkListening(host, this.credentials.settings);
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, host, resolve);
    });
    const { address, port: bound } = this.#server.address() as AddressInfo;
    return `${this.#secure ? 'https' : 'http'}://${addressOf({ host: address, port: bound })}`;
  }

  async close(): Promise<void> {
    this.#forget();
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeAllConnections();
    await closed;
  }

  #certificate() {
    return { ...present(this.credentials.tls), minVersion: 'TLSv1.2' as const };
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      this.#admitOrigin(request, response);
      send(response, await this.#answer(request));
    } catch (error) {
      if (!(error instanceof Refused)) {
        this.#log.warn('a call broke off', {
          reason: messageOf(error),
        });
        response.destroy();
        return;
      }
      const { status, message } = error;
      if (status === 401 || status === 403)
        this.#log.warn('a caller was refused', { from: request.socket.remoteAddress, reason: message });
      // What is left of the request is not read.
      send(response, { status, ...json({ message }), headers: { connection: 'close' } });
    }
  }

  /** A page of another origin is refused before anything is done; one of ours is told that it may read the answer. */
  #admitOrigin({ headers }: IncomingMessage, response: ServerResponse): void {
    const { origin, host } = headers;
    response.setHeader('vary', 'origin');
    if (origin === undefined || origin === `${this.#secure ? 'https' : 'http'}://${host}`) return;
    if (!this.origins.includes(origin))
      throw new Refused(403, 'pages of this origin may not ask: name it with --origin');
    response.setHeader('access-control-allow-origin', origin);
    response.setHeader('access-control-allow-credentials', 'true');
  }

  async #answer(request: IncomingMessage): Promise<Reply> {
    const { method, headers } = request;
    if (method === 'OPTIONS') return preflight(headers);
    const { pathname } = new URL(request.url ?? '/', 'http://codec');
    if (pathname === '/' && method === 'GET') return html(200, signInPage());
    const transform = TRANSFORMS[pathname as keyof typeof TRANSFORMS];
    if (pathname !== '/' && transform === undefined) throw new Refused(404, 'see /decode and /encode');
    if (method !== 'POST') throw new Refused(405, 'POST is the way to ask here');
    if (transform === undefined) return this.#signIn(await this.#body(request));
    const cookie = tokenOfCookie(headers.cookie);
    if (!this.#accept(headers.authorization) && !(cookie !== undefined && this.#accept(`Bearer ${cookie}`)))
      throw new Refused(401, 'the call has no token, or one that is not accepted here');
    const payloads = readPayloads(await this.#body(request));
    if (payloads === undefined) throw new Refused(400, 'expected {"payloads":[...]}, as Temporal sends it');
    const transformed = await this.codec[transform](payloads).catch(refused);
    return { status: 200, ...json(payloadsJson(transformed)) };
  }

  #signIn(body: string): Reply {
    const token = tokenOfForm(body);
    if (this.#accept(`Bearer ${token}`))
      return { ...html(200, SIGNED_IN_PAGE), headers: { 'set-cookie': cookieFor(token, this.#secure) } };
    this.#log.warn('a caller was refused', { reason: 'a wrong token was given on the page' });
    return html(401, signInPage('This token is not accepted.'));
  }

  #accept(authorization: string | undefined): boolean {
    return this.credentials.tokens?.accept(authorization) === true;
  }

  async #body(request: IncomingMessage): Promise<string> {
    const { maxRequestBytes } = this.credentials.settings.limits;
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of request as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > maxRequestBytes) throw new Refused(413, `a request has ${maxRequestBytes} bytes at most`);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks).toString('utf8');
  }
}

function refused(error: unknown): never {
  if (error instanceof UndecryptablePayload) throw new Refused(400, error.message);
  throw error;
}

interface Reply {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

function json(value: unknown): Pick<Reply, 'type' | 'body'> {
  return { type: 'application/json', body: JSON.stringify(value) };
}

function html(status: number, body: string): Reply {
  return { status, type: 'text/html; charset=utf-8', body };
}

/** Whatever the Web UI sends of its own (X-Namespace and others) is let in: its origin is believed by now. */
function preflight(headers: IncomingHttpHeaders): Reply {
  return {
    status: 200,
    type: 'text/plain',
    body: '',
    headers: {
      'access-control-allow-methods': 'POST',
      'access-control-allow-headers': headers['access-control-request-headers'] ?? 'content-type',
      'access-control-max-age': '600',
    },
  };
}

function send(response: ServerResponse, { status, type, body, headers }: Reply): void {
  response.writeHead(status, {
    'content-type': type,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    'content-security-policy': "default-src 'none'; form-action 'self'; frame-ancestors 'none'",
    ...headers,
  });
  response.end(body);
}
