import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import type { Payload, PayloadCodec } from '@temporalio/common';
import { bytesOf, payloadOf } from './payload-bytes.js';
import { PAYLOAD_KEYS_VARIABLE, type PayloadKeys } from './payload-keys.js';

/** As Temporal's own examples call it, so that tools know an encrypted payload when they see one. */
const ENCODING = 'binary/encrypted';
const KEY_ID = 'encryption-key-id';
const CIPHER = 'aes-256-gcm';
/** Random for each payload: good for 2^32 payloads of one key. In bytes. */
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** A payload that cannot be decrypted here; the message names its key, and nothing of what is in it. */
export class UndecryptablePayload extends Error {
  override readonly name = 'UndecryptablePayload';
}

/**
 * Encrypts payloads whole, their metadata too, with the first key, and decrypts with whichever key they name (AES-256-GCM). What
 * is not encrypted is passed through, so that histories from before stay readable. Without keys it encrypts nothing.
 *
 * Nonce, tag and ciphertext stand in the data in this order, the id of the key in the metadata and under the tag.
 */
export class PayloadEncryption implements PayloadCodec {
  /** @param keys those of now; asked for each payload */
  constructor(private readonly keys: () => PayloadKeys | undefined) {}

  async encode(payloads: Payload[]): Promise<Payload[]> {
    const keys = this.keys();
    return keys === undefined ? payloads : payloads.map((payload) => encrypt(payload, keys));
  }

  /** @throws UndecryptablePayload */
  async decode(payloads: Payload[]): Promise<Payload[]> {
    const keys = this.keys();
    return payloads.map((payload) => (isEncrypted(payload) ? decrypt(payload, keys) : payload));
  }
}

function isEncrypted({ metadata }: Payload): boolean {
  const encoding = metadata?.['encoding'];
  return encoding !== undefined && Buffer.from(encoding).toString() === ENCODING;
}

function encrypt(payload: Payload, { first: { id, key } }: PayloadKeys): Payload {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv(CIPHER, key, nonce, { authTagLength: TAG_BYTES }).setAAD(Buffer.from(id));
  const encrypted = Buffer.concat([cipher.update(bytesOf(payload)), cipher.final()]);
  return {
    metadata: { encoding: Buffer.from(ENCODING), [KEY_ID]: Buffer.from(id) },
    data: Buffer.concat([nonce, cipher.getAuthTag(), encrypted]),
  };
}

function decrypt({ metadata, data }: Payload, keys: PayloadKeys | undefined): Payload {
  const id = Buffer.from(metadata?.[KEY_ID] ?? '').toString();
  const name = JSON.stringify(id.slice(0, 100));
  if (keys === undefined) {
    throw new UndecryptablePayload(
      `the payload is encrypted with key ${name}: ${PAYLOAD_KEYS_VARIABLE} must name a file that has it`,
    );
  }
  const key = keys.get(id);
  if (key === undefined) {
    throw new UndecryptablePayload(
      `the payload is encrypted with key ${name}, which is not in ${PAYLOAD_KEYS_VARIABLE} (${keys.ids.join(', ')}): add it there`,
    );
  }
  const bytes = Buffer.from(data ?? []);
  try {
    const decipher = createDecipheriv(CIPHER, key, bytes.subarray(0, NONCE_BYTES), {
      authTagLength: TAG_BYTES,
    })
      .setAAD(Buffer.from(id))
      .setAuthTag(bytes.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES));
    const plain = Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES + TAG_BYTES)), decipher.final()]);
    return payloadOf(plain);
  } catch {
    throw new UndecryptablePayload(
      `the payload does not fit key ${name} of ${PAYLOAD_KEYS_VARIABLE}: it was changed, or another key has this id there`,
    );
  }
}
