import { z } from 'zod';

/**
 * How processes speak to each other: certificates, tokens and limits. Read from the environment once, at the edge; the
 * servers take the same settings as flags (`TRANSPORT_FLAGS`), which win. Units are in the names.
 */
const transportSchema = z.object({
  /** PEM files. A server with a certificate serves TLS only; a client shows it to servers that ask for one. */
  STEWARD_TLS_CERT: z.string().optional(),
  STEWARD_TLS_KEY: z.string().optional(),
  /** Who is believed, by clients and by servers that ask for certificates. Unset: the CAs that Node.js comes with. */
  STEWARD_TLS_CA: z.string().optional(),
  /** `require`: a server answers only callers with a certificate of that CA. */
  STEWARD_TLS_CLIENT_AUTH: z.enum(['none', 'require']).default('none'),
  /** One token a line. A server accepts each of them, a client sends the first. */
  STEWARD_TOKEN_FILE: z.string().optional(),
  /** Servers may listen in plain text, and clients may send tokens in it, beyond loopback. */
  STEWARD_ALLOW_PLAIN_TEXT: z.stringbool().default(false),
  /** How often the files are looked at. What changed is taken when two looks in a row found the same. */
  STEWARD_CREDENTIALS_POLL_MS: between(10, 3_600_000, 1_000),
  /** Of one request, unpacked. The largest honest one is a Submit of 250 operations, about a tenth of that. */
  STEWARD_MAX_REQUEST_BYTES: between(1_024, 1 << 30, 4 << 20),
  /** Beyond it the longest idle connection gives way, strangers first; without an idle one the new one is closed. */
  STEWARD_MAX_CONNECTIONS: between(1, 100_000, 1_000),
  /** Calls under way on one connection; a client holds back further ones. Clients take 100 for granted. */
  STEWARD_MAX_STREAMS: between(100, 10_000, 100),
  /** Calls under way. Beyond it the oldest whose body is not complete gives way; else RESOURCE_EXHAUSTED. */
  STEWARD_MAX_CALLS: between(1, 100_000, 500),
  /** From the connection (and its TLS handshake) to the headers of the first call. */
  STEWARD_HEADER_TIMEOUT_MS: between(10, 3_600_000, 10_000),
  /** From the headers of a call to the end of its body. */
  STEWARD_BODY_TIMEOUT_MS: between(10, 3_600_000, 10_000),
  /** From the headers of a call to the end of its answer. */
  STEWARD_CALL_TIMEOUT_MS: between(10, 3_600_000, 60_000),
  /** A connection without a call. Longer than the 15 minutes after which our own clients hang up. */
  STEWARD_IDLE_TIMEOUT_MS: between(10, 86_400_000, 1_200_000),
});

/** Every variable that this reads. */
export const TRANSPORT_VARIABLES: readonly string[] = Object.keys(transportSchema.shape);

/** The largest answer that a client reads and a server sends: a list of a hundred thousand rows is about a third. */
export const MAX_RESPONSE_BYTES = 64 << 20;
/** Of the headers of one call. */
export const MAX_HEADER_BYTES = 16 << 10;

export interface TransportLimits {
  readonly maxRequestBytes: number;
  readonly maxConnections: number;
  readonly maxStreams: number;
  readonly maxCalls: number;
  readonly headerTimeoutMs: number;
  readonly bodyTimeoutMs: number;
  readonly callTimeoutMs: number;
  readonly idleTimeoutMs: number;
}

export interface TransportSettings {
  /** Paths of PEM files. `cert` and `key` come together. */
  readonly tls: {
    readonly cert: string | undefined;
    readonly key: string | undefined;
    readonly ca: string | undefined;
  };
  /** Callers must show a certificate. */
  readonly clientAuth: boolean;
  readonly tokenFile: string | undefined;
  readonly allowPlainText: boolean;
  readonly pollMs: number;
  readonly limits: TransportLimits;
}

/** For `parseArgs` of a server's command line. */
export const TRANSPORT_FLAGS = {
  'tls-cert': { type: 'string' },
  'tls-key': { type: 'string' },
  'tls-ca': { type: 'string' },
  'tls-client-auth': { type: 'string' },
  'token-file': { type: 'string' },
  'allow-plain-text': { type: 'boolean', default: false },
} as const;

export const TRANSPORT_USAGE = `\
  --tls-cert <file>        serve TLS with this certificate (STEWARD_TLS_CERT)
  --tls-key <file>         and this key (STEWARD_TLS_KEY)
  --tls-ca <file>          the CA that is believed (STEWARD_TLS_CA)
  --tls-client-auth require  answer only callers with a certificate of that CA (STEWARD_TLS_CLIENT_AUTH)
  --token-file <file>      tokens that are accepted, one a line; the first is sent (STEWARD_TOKEN_FILE)
  --allow-plain-text       listen without TLS beyond loopback (STEWARD_ALLOW_PLAIN_TEXT)`;

export interface TransportFlags {
  readonly 'tls-cert'?: string | undefined;
  readonly 'tls-key'?: string | undefined;
  readonly 'tls-ca'?: string | undefined;
  readonly 'tls-client-auth'?: string | undefined;
  readonly 'token-file'?: string | undefined;
  readonly 'allow-plain-text'?: boolean | undefined;
}

/** Settings that contradict each other or make no sense; the message is one line that names the variables. */
export class WrongTransport extends Error {
  override readonly name = 'WrongTransport';
}

/** An empty variable counts as unset. Throws WrongTransport; no file is read. */
export function readTransport(
  environment: NodeJS.ProcessEnv = process.env,
  flags: TransportFlags = {},
): TransportSettings {
  const given = {
    ...environment,
    ...defined({
      STEWARD_TLS_CERT: flags['tls-cert'],
      STEWARD_TLS_KEY: flags['tls-key'],
      STEWARD_TLS_CA: flags['tls-ca'],
      STEWARD_TLS_CLIENT_AUTH: flags['tls-client-auth'],
      STEWARD_TOKEN_FILE: flags['token-file'],
      STEWARD_ALLOW_PLAIN_TEXT: flags['allow-plain-text'] ? 'true' : undefined,
    }),
  };
  const parsed = transportSchema.safeParse(defined(given));
  if (!parsed.success) {
    const problems = parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
    throw new WrongTransport(`wrong transport settings: ${problems.join('; ')}`);
  }
  const values = parsed.data;
  const tls = { cert: values.STEWARD_TLS_CERT, key: values.STEWARD_TLS_KEY, ca: values.STEWARD_TLS_CA };
  const clientAuth = values.STEWARD_TLS_CLIENT_AUTH === 'require';
  if ((tls.cert === undefined) !== (tls.key === undefined)) {
    throw new WrongTransport('STEWARD_TLS_CERT and STEWARD_TLS_KEY belong together: set both, or none');
  }
  if (clientAuth && (tls.cert === undefined || tls.ca === undefined)) {
    throw new WrongTransport(
      'STEWARD_TLS_CLIENT_AUTH=require needs STEWARD_TLS_CERT, STEWARD_TLS_KEY and STEWARD_TLS_CA',
    );
  }
  return {
    tls,
    clientAuth,
    tokenFile: values.STEWARD_TOKEN_FILE,
    allowPlainText: values.STEWARD_ALLOW_PLAIN_TEXT,
    pollMs: values.STEWARD_CREDENTIALS_POLL_MS,
    limits: {
      maxRequestBytes: values.STEWARD_MAX_REQUEST_BYTES,
      maxConnections: values.STEWARD_MAX_CONNECTIONS,
      maxStreams: values.STEWARD_MAX_STREAMS,
      maxCalls: values.STEWARD_MAX_CALLS,
      headerTimeoutMs: values.STEWARD_HEADER_TIMEOUT_MS,
      bodyTimeoutMs: values.STEWARD_BODY_TIMEOUT_MS,
      callTimeoutMs: values.STEWARD_CALL_TIMEOUT_MS,
      idleTimeoutMs: values.STEWARD_IDLE_TIMEOUT_MS,
    },
  };
}

function defined(values: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(values).filter(
      (entry): entry is [string, string] => entry[1] !== undefined && entry[1] !== '',
    ),
  );
}

function between(least: number, most: number, fallback: number) {
  return z.coerce.number().int().min(least).max(most).default(fallback);
}
