import { Code, ConnectError, type Interceptor, type Transport } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { MAX_RESPONSE_BYTES } from '../model/transport.js';
import { sendCallContext } from './baggage.js';
import { sendTrace } from './call-spans.js';
import { type Credentials, present } from './credentials.js';
import { isLoopback } from './plain-text.js';
import { explainTrust } from './trust.js';

export interface RpcConnectionOptions {
  /** For calls that name none of their own. Default: none. */
  readonly deadlineMs?: number;
  /** How calls are written. Default: `connect`, with protocol buffers. */
  readonly protocol?: 'connect' | 'connect-json' | 'grpc';
  /** See every call before it gets its token. */
  readonly interceptors?: readonly Interceptor[];
}

/**
 * A client's connection to one server, made at the first call and again whenever it is lost, with the credentials of this
 * moment: calls after a change of the files go over a new connection, those under way end on the old one.
 *
 * A certificate that is not trusted fails a call as UNAUTHENTICATED, before anything is sent; so does a call in plain text
 * to another machine when there are credentials, unless that is allowed.
 */
export class RpcConnection {
  readonly transport: Transport;
  readonly #sessions: RenewedSessions;

  constructor(url: string, credentials: Credentials, options: RpcConnectionOptions = {}) {
    const { deadlineMs, protocol = 'connect', interceptors = [] } = options;
    this.#sessions = new RenewedSessions(url, credentials);
    const common = {
      baseUrl: url,
      sessionManager: this.#sessions,
      readMaxBytes: MAX_RESPONSE_BYTES,
      interceptors: [sendTrace, sendCallContext, ...interceptors, authenticate(url, credentials)],
      ...(deadlineMs !== undefined && { defaultTimeoutMs: deadlineMs }),
    };
    this.transport =
      protocol === 'grpc'
        ? createGrpcTransport(common)
        : createConnectTransport({
            ...common,
            httpVersion: '2',
            useBinaryFormat: protocol === 'connect',
          });
  }

  /** Ends the calls that are under way. */
  close(): void {
    this.#sessions.abort();
  }
}

function authenticate(url: string, credentials: Credentials): Interceptor {
  const { protocol, hostname } = new URL(url);
  const exposed = protocol === 'http:' && !isLoopback(hostname) && !credentials.settings.allowPlainText;
  return (next) => async (request) => {
    if (exposed && credentials.any) {
      throw new ConnectError(
        `refusing to speak plain text with ${url}, another machine, as this process has a token or certificates: ` +
          'the URL must begin with https://, or STEWARD_ALLOW_PLAIN_TEXT=true say that the network is safe',
        Code.Unauthenticated,
      );
    }
    const { tokens } = credentials;
    if (tokens !== undefined) request.header.set('authorization', tokens.authorization);
    try {
      return await next(request);
    } catch (error) {
      throw request.signal.aborted ? error : explainLoss(explainTrust(error, url), url);
    }
  };
}

/** A stream that the other end closed looks like one that was given up by the caller, who did not. */
function explainLoss(error: unknown, url: string): unknown {
  if (!(error instanceof ConnectError) || error.code !== Code.Canceled) return error;
  const hint = url.startsWith('http:') ? ' (when it speaks TLS, its URL must begin with https://)' : '';
  const message = `${url} closed the connection without an answer${hint}`;
  return new ConnectError(message, Code.Unavailable, {}, [], error);
}

/** The sessions of a transport: a new one after every change of the credentials. */
class RenewedSessions {
  readonly authority: string;
  #current: Http2SessionManager;
  /** They still have calls under way, or close by themselves when idle. */
  readonly #former = new Set<Http2SessionManager>();
  readonly #forget: () => void;

  constructor(
    private readonly url: string,
    private readonly credentials: Credentials,
  ) {
    this.authority = new URL(url).origin;
    this.#current = this.#open();
    this.#forget = credentials.onChange(() => this.#renew());
  }

  request(...call: Parameters<Http2SessionManager['request']>): ReturnType<Http2SessionManager['request']> {
    return this.#current.request(...call);
  }

  notifyResponseByteRead(stream: Parameters<Http2SessionManager['notifyResponseByteRead']>[0]): void {
    for (const session of [this.#current, ...this.#former]) session.notifyResponseByteRead(stream);
  }

  abort(): void {
    this.#forget();
    for (const session of [this.#current, ...this.#former]) session.abort();
    this.#former.clear();
  }

  #open(): Http2SessionManager {
    return new Http2SessionManager(this.url, {}, { ...present(this.credentials.tls), minVersion: 'TLSv1.2' });
  }

  #renew(): void {
    for (const session of [this.#current, ...this.#former]) {
      if (session.state() === 'open' || session.state() === 'connecting') this.#former.add(session);
      else {
        session.abort();
        this.#former.delete(session);
      }
    }
    this.#current = this.#open();
  }
}
