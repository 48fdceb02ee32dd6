import { createPrivateKey, X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import type { Logger } from '../log.js';
import type { TransportSettings } from '../model/transport.js';
import { Tokens } from './tokens.js';
import type { WatchedFiles } from './watched-files.js';
import { watchSecrets } from './watched-secrets.js';

/** PEM texts. `cert` and `key` come together. */
export interface TlsMaterial {
  readonly cert: string | undefined;
  readonly key: string | undefined;
  readonly ca: string | undefined;
}

export type CredentialsLog = Pick<Logger, 'info' | 'warn'>;

/**
 * What a process shows to others and whom it believes, for its server and its clients alike. The files are read again
 * when they change; a half-written or bad one keeps the old one in use, with a WARN. Neither keys nor tokens are logged.
 */
export class Credentials {
  readonly #tls: WatchedFiles<TlsMaterial> | undefined;
  readonly #tokens: WatchedFiles<Tokens> | undefined;
  readonly #listeners = new Set<() => void>();

  /** Throws WrongTransport when a file cannot be used. */
  constructor(
    readonly settings: TransportSettings,
    log: CredentialsLog = WARNINGS,
  ) {
    const { pollMs, tokenFile, tls } = settings;
    const files = [
      { name: 'cert', variable: 'STEWARD_TLS_CERT', path: tls.cert },
      { name: 'key', variable: 'STEWARD_TLS_KEY', path: tls.key },
      { name: 'ca', variable: 'STEWARD_TLS_CA', path: tls.ca },
    ] as const;
    const given = files.flatMap(({ name, variable, path }) =>
      path === undefined ? [] : [{ name, variable, path }],
    );
    const changed = (): void => {
      for (const listener of this.#listeners) listener();
    };
    if (given.length > 0) {
      const what = `certificates (${given.map(({ variable }) => variable).join(', ')})`;
      const paths = given.map(({ path }) => path);
      const parse = (contents: readonly string[]): TlsMaterial => {
        const text = (name: string) => contents[given.findIndex((file) => file.name === name)];
        return tlsMaterial({ cert: text('cert'), key: text('key'), ca: text('ca') });
      };
      this.#tls = watchSecrets({ what, paths, pollMs, parse, about: aboutCertificate, changed }, log);
      const { expired } = aboutCertificate(this.#tls.value);
      if (expired !== undefined) log.warn({ expired }, 'the certificate of this process has expired');
    }
    if (tokenFile !== undefined) {
      this.#tokens = watchSecrets(
        {
          what: 'tokens (STEWARD_TOKEN_FILE)',
          paths: [tokenFile],
          pollMs,
          parse: ([content]) => Tokens.parse(content!),
          about: ({ count }) => ({ tokens: count }),
          changed,
        },
        log,
      );
    }
  }

  get tls(): TlsMaterial {
    return this.#tls?.value ?? { cert: undefined, key: undefined, ca: undefined };
  }

  get tokens(): Tokens | undefined {
    return this.#tokens?.value;
  }

  /** There is something that a stranger must not get, or a server that must not be mistaken. */
  get any(): boolean {
    return this.#tls !== undefined || this.#tokens !== undefined;
  }

  /** Calls `listener` after every change that was taken; answers what ends that. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Looks at the files no more. */
  close(): void {
    this.#tls?.close();
    this.#tokens?.close();
    this.#listeners.clear();
  }
}

/** For programs without a log of ours. */
export const WARNINGS: CredentialsLog = {
  info: () => {},
  warn: (about: object, message?: string) => {
    process.emitWarning(`${message}: ${JSON.stringify(about)}`, 'StewardWarning');
  },
} as CredentialsLog;

/** Parses strictly: OpenSSL skips what is cut off, and a CA that is half written must not be half believed. */
function tlsMaterial({ cert, key, ca }: TlsMaterial): TlsMaterial {
  const [own] = cert === undefined ? [] : certificates('STEWARD_TLS_CERT', cert);
  if (ca !== undefined) certificates('STEWARD_TLS_CA', ca);
  if (own !== undefined && key !== undefined && !own.checkPrivateKey(privateKey(key))) {
    throw new Error('STEWARD_TLS_KEY is not the key of STEWARD_TLS_CERT');
  }
  createSecureContext(present({ cert, key, ca }));
  return { cert, key, ca };
}

function certificates(variable: string, pem: string): X509Certificate[] {
  // Line by line: OpenSSL does not see a certificate that begins in the line in which another one ends.
  const blocks = pem.match(/^-----BEGIN CERTIFICATE-----\s*$[^-]+^-----END CERTIFICATE-----\s*$/gm) ?? [];
  if (blocks.length === 0 || blocks.length !== pem.match(/-----BEGIN/g)?.length) {
    throw new Error(`${variable}: expected whole certificates in PEM form`);
  }
  return blocks.map((block) => {
    try {
      return new X509Certificate(block);
    } catch {
      throw new Error(`${variable}: a certificate in it is damaged`);
    }
  });
}

function privateKey(pem: string) {
  try {
    return createPrivateKey(pem);
  } catch {
    // What OpenSSL says of it is no help, and must not be near a log.
    throw new Error('STEWARD_TLS_KEY: expected a whole private key in PEM form, without a passphrase');
  }
}

function aboutCertificate({ cert }: TlsMaterial): { validTo?: string; expired?: string } {
  if (cert === undefined) return {};
  const { validTo } = new X509Certificate(cert);
  return Date.parse(validTo) < Date.now() ? { validTo, expired: validTo } : { validTo };
}

/** What is there of it, as the options of Node.js want it. */
export function present({ cert, key, ca }: TlsMaterial): { cert?: string; key?: string; ca?: string } {
  return {
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
    ...(ca !== undefined && { ca }),
  };
}
