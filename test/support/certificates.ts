import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { generate } from 'selfsigned';

const DAY_MS = 86_400_000;

/** PEM texts of one certificate, and of the CA that signed it. */
export interface Issued {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

export interface Authority {
  readonly cert: string;
  /** A certificate for servers and clients; by default of 127.0.0.1 and localhost, valid now. */
  issue(options?: { readonly hosts?: readonly string[]; readonly expired?: boolean }): Promise<Issued>;
}

/** A certificate authority of its own. */
export async function makeAuthority(name = 'test CA'): Promise<Authority> {
  const ca = await generate([{ name: 'commonName', value: name }], {
    ...CURVE,
    notBeforeDate: new Date(Date.now() - 30 * DAY_MS),
    extensions: [
      { name: 'basicConstraints', cA: true, critical: true },
      { name: 'keyUsage', keyCertSign: true, cRLSign: true, critical: true },
    ],
  });
  return {
    cert: `${ca.cert.trim()}\n`,
    async issue({ hosts = ['localhost', '127.0.0.1'], expired = false } = {}) {
      const issued = await generate([{ name: 'commonName', value: hosts[0]! }], {
        ...CURVE,
        notBeforeDate: new Date(Date.now() - 20 * DAY_MS),
        notAfterDate: new Date(Date.now() + (expired ? -DAY_MS : DAY_MS)),
        ca: { key: ca.private, cert: ca.cert },
        extensions: [
          { name: 'basicConstraints', cA: false },
          { name: 'keyUsage', digitalSignature: true },
          { name: 'extKeyUsage', serverAuth: true, clientAuth: true },
          {
            name: 'subjectAltName',
            altNames: hosts.map((host) =>
              /^[\d.]+$/.test(host) ? { type: 7 as const, ip: host } : { type: 2 as const, value: host },
            ),
          },
        ],
      });
      return { cert: issued.cert, key: issued.private, ca: `${ca.cert.trim()}\n` };
    },
  };
}

const CURVE = { keyType: 'ec', curve: 'P-256', algorithm: 'sha256' } as const;

/** The variables of a process that has these certificates, written to files below `directory`. */
export function tlsEnvironment(directory: string, { cert, key, ca }: Issued): Record<string, string> {
  mkdirSync(directory, { recursive: true });
  const file = (name: string, content: string): string => {
    const path = join(directory, name);
    writeFileSync(path, content);
    return path;
  };
  return {
    STEWARD_TLS_CERT: file('cert.pem', cert),
    STEWARD_TLS_KEY: file('key.pem', key),
    STEWARD_TLS_CA: file('ca.pem', ca),
  };
}
