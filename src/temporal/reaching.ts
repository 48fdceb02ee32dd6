import { isIP } from 'node:net';
import { connect, type TLSSocket } from 'node:tls';
import { mistrust } from '../rpc/trust.js';
import type { temporalConfig } from './connection.js';

type ConnectionOptions = ReturnType<typeof temporalConfig>['connectionOptions'];

/** A handshake that is not answered tells nothing. */
const PATIENCE_MS = 2_000;
const CA = 'TEMPORAL_TLS_SERVER_CA_CERT_PATH';

export class NotTrusted extends Error {
  override readonly name = 'NotTrusted';
}

/**
 * Connects to Temporal; when that fails because the two do not trust each other, the error says why, which Temporal's own
 * clients keep to themselves.
 */
export async function reaching<T>(options: ConnectionOptions, open: () => Promise<T>): Promise<T> {
  try {
    return await open();
  } catch (cause) {
    const reason = await whyNot(options);
    if (reason === undefined) throw cause;
    throw new NotTrusted(`Temporal at ${options.address} is not trusted: ${reason}`, { cause });
  }
}

/** What a handshake of our own finds wrong; undefined when it finds nothing. */
async function whyNot({ address = '', tls }: ConnectionOptions): Promise<string | undefined> {
  const [, host = '', port = ''] = /^(.*):(\d+)$/.exec(address) ?? [];
  const given = typeof tls === 'object' && tls !== null ? tls : {};
  const { serverNameOverride, serverRootCACertificate, clientCertPair } = given;
  const configured = tls !== undefined && tls !== null && tls !== false;
  const name = serverNameOverride ?? host;
  const socket = connect({
    host,
    port: Number(port),
    ...(isIP(name) === 0 && { servername: name }),
    ALPNProtocols: ['h2'],
    rejectUnauthorized: configured,
    ...(serverRootCACertificate && { ca: Buffer.from(serverRootCACertificate) }),
    ...(clientCertPair && { cert: Buffer.from(clientCertPair.crt), key: Buffer.from(clientCertPair.key) }),
  });
  const { secured, error, silent } = await greeting(socket);
  if (!configured) return secured ? 'it speaks TLS: say TEMPORAL_TLS=true' : undefined;
  const reason = mistrust(error, CA, 'leave TEMPORAL_TLS away');
  if (reason !== undefined || !secured || !silent) return reason;
  return clientCertPair === undefined
    ? 'it hangs up after the TLS handshake, as one does that asks for a certificate'
    : 'it hangs up after the TLS handshake, as one does that does not believe the certificate that it was shown';
}

interface Greeting {
  /** The handshake was done. */
  readonly secured: boolean;
  readonly error?: unknown;
  /** It hung up without a word. */
  readonly silent: boolean;
}

/** Until the server has spoken: with TLS 1.3 it refuses a client's certificate only after the handshake. */
function greeting(socket: TLSSocket): Promise<Greeting> {
  let secured = false;
  socket.once('secureConnect', () => {
    secured = true;
  });
  return new Promise<Greeting>((resolve) => {
    socket.setTimeout(PATIENCE_MS, () => resolve({ secured, silent: false }));
    socket.once('data', () => resolve({ secured, silent: false }));
    socket.once('error', (error) => resolve({ secured, error, silent: true }));
    socket.once('close', () => resolve({ secured, silent: true }));
  }).finally(() => socket.destroy());
}
