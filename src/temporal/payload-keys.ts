import { createSecretKey, type KeyObject } from 'node:crypto';
import type { Logger } from '../log.js';
import { readTransport } from '../model/transport.js';
import type { WatchedFiles } from '../rpc/watched-files.js';
import { watchSecrets } from '../rpc/watched-secrets.js';

/** Names the file; unset: payloads are not encrypted. */
export const PAYLOAD_KEYS_VARIABLE = 'STEWARD_PAYLOAD_KEYS_FILE';

/** A name, and 32 bytes in base64. */
const LINE = /^([A-Za-z0-9._-]{1,64})\s+([A-Za-z0-9+/]{43}=)$/;

/** The keys of one file: several while they are rotated, and for as long as a history needs an old one. */
export class PayloadKeys {
  private constructor(private readonly keys: ReadonlyMap<string, KeyObject>) {}

  /** One key a line, `<id> <32 bytes in base64>`; empty lines and lines that start with # do not count. Errors never quote a line. */
  static parse(text: string): PayloadKeys {
    const keys = new Map<string, KeyObject>();
    for (const [index, raw] of text.split(/\r?\n/).entries()) {
      const line = raw.trim();
      if (line === '' || line.startsWith('#')) continue;
      const [, id, key] = LINE.exec(line) ?? [];
      if (id === undefined || key === undefined) {
        throw new Error(
          `line ${index + 1} is no key: expected an id and 32 bytes in base64, as "openssl rand -base64 32" prints`,
        );
      }
      if (keys.has(id)) throw new Error(`line ${index + 1} names ${id} again: each key has an id of its own`);
      keys.set(id, createSecretKey(Buffer.from(key, 'base64')));
    }
    if (keys.size === 0) throw new Error('there is no key in it');
    return new PayloadKeys(keys);
  }

  /** The one that encrypts. */
  get first(): { readonly id: string; readonly key: KeyObject } {
    const [[id, key]] = [...this.keys] as [[string, KeyObject]];
    return { id, key };
  }

  get ids(): readonly string[] {
    return [...this.keys.keys()];
  }

  get(id: string): KeyObject | undefined {
    return this.keys.get(id);
  }
}

/**
 * The keys of `STEWARD_PAYLOAD_KEYS_FILE`, read again when it changes; undefined when the variable is not set. What is half
 * written or wrong keeps the old ones in use, with a WARN. Throws WrongTransport when the file cannot be used now.
 */
export function watchPayloadKeys(
  environment: NodeJS.ProcessEnv,
  log: Pick<Logger, 'info' | 'warn'>,
): WatchedFiles<PayloadKeys> | undefined {
  const path = environment[PAYLOAD_KEYS_VARIABLE];
  if (path === undefined || path === '') return undefined;
  return watchSecrets(
    {
      what: `payload keys (${PAYLOAD_KEYS_VARIABLE})`,
      paths: [path],
      pollMs: readTransport(environment).pollMs,
      parse: ([content]) => PayloadKeys.parse(content!),
      about: ({ ids }) => ({ keys: ids }),
    },
    log,
  );
}
