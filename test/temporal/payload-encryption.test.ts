import { randomBytes } from 'node:crypto';
import { defaultPayloadConverter, type Payload } from '@temporalio/common';
import { temporal } from '@temporalio/proto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bytesOf, payloadOf } from '../../src/temporal/payload-bytes.js';
import { PayloadEncryption } from '../../src/temporal/payload-encryption.js';
import { PayloadKeys } from '../../src/temporal/payload-keys.js';

const KEY_1 = randomBytes(32).toString('base64');
const KEY_2 = randomBytes(32).toString('base64');
const SALES = payload({ database: 'sales' });

function encryption(...lines: string[]): PayloadEncryption {
  const keys = lines.length === 0 ? undefined : PayloadKeys.parse(lines.join('\n'));
  return new PayloadEncryption(() => keys);
}

function payload(value: unknown): Payload {
  return defaultPayloadConverter.toPayload(value)!;
}

function readable(one: Payload): unknown {
  return defaultPayloadConverter.fromPayload(one);
}

/** All that whoever has no key can see of it, as text. */
function seen({ metadata, data }: Payload): string {
  const parts = [...Object.entries(metadata ?? {}).flat(), data ?? ''];
  return parts.map((part) => Buffer.from(part).toString('latin1')).join('\n');
}

async function encrypted(by: PayloadEncryption): Promise<Payload> {
  const [one] = await by.encode([SALES]);
  return one!;
}

describe('an encrypted payload', () => {
  test('shows its key id and nothing of what is in it, and is itself again when decrypted', async () => {
    const by = encryption(`2026-01 ${KEY_1}`);
    const one = await encrypted(by);
    expect(seen(one)).toContain('2026-01');
    for (const word of ['sales', 'database', 'json/plain']) expect(seen(one)).not.toContain(word);
    const [decrypted] = await by.decode([one]);
    expect(readable(decrypted!)).toEqual({ database: 'sales' });
  });

  test('is another one each time', async () => {
    const by = encryption(`k ${KEY_1}`);
    expect(seen(await encrypted(by))).not.toBe(seen(await encrypted(by)));
  });

  test('is encrypted with the first key, and decrypted with whichever it was', async () => {
    const before = await encrypted(encryption(`old ${KEY_1}`));
    const rotated = encryption(`new ${KEY_2}`, `old ${KEY_1}`);
    expect(seen(await encrypted(rotated))).toContain('new');
    expect((await rotated.decode([before])).map(readable)).toEqual([{ database: 'sales' }]);
  });

  test('whose key is missing is refused, with the id of the key', async () => {
    const one = await encrypted(encryption(`2025-12 ${KEY_1}`));
    await expect(encryption(`2026-01 ${KEY_2}`).decode([one])).rejects.toThrow(
      'encrypted with key "2025-12", which is not in STEWARD_PAYLOAD_KEYS_FILE (2026-01)',
    );
    await expect(encryption().decode([one])).rejects.toThrow(
      'encrypted with key "2025-12": STEWARD_PAYLOAD_KEYS_FILE must name a file that has it',
    );
  });

  test('that was changed anywhere is refused: data, tag, nonce, and the id of its key', async () => {
    const by = encryption(`a ${KEY_1}`, `b ${KEY_1}`);
    const one = await encrypted(by);
    for (const at of [0, 13, 28, one.data!.length - 1]) {
      const data = Buffer.from(one.data!);
      data[at] = data[at]! ^ 1;
      await expect(by.decode([{ ...one, data }])).rejects.toThrow('does not fit key "a"');
    }
    const renamed = { ...one, metadata: { ...one.metadata, 'encryption-key-id': Buffer.from('b') } };
    await expect(by.decode([renamed])).rejects.toThrow('does not fit key "b"');
    await expect(by.decode([{ ...one, data: Buffer.from('short') }])).rejects.toThrow('does not fit');
    await expect(by.decode([{ metadata: one.metadata! }])).rejects.toThrow('does not fit');
  });
});

test('a payload from before encryption is read as it is', async () => {
  const [same] = await encryption(`k ${KEY_1}`).decode([SALES]);
  expect(readable(same!)).toEqual({ database: 'sales' });
});

test('without keys nothing is encrypted', async () => {
  expect(await encryption().encode([SALES])).toEqual([SALES]);
});

describe('a file of keys', () => {
  test('may have comments, empty lines and CRLF', () => {
    expect(PayloadKeys.parse(`# made by hand\r\n\r\n  new ${KEY_1}\r\nold   ${KEY_2}\r\n`).ids).toEqual([
      'new',
      'old',
    ]);
  });

  test.each([
    ['is empty', '', 'there is no key in it'],
    ['is cut off', `k ${KEY_1.slice(0, -8)}`, 'line 1 is no key'],
    ['has a key without id', KEY_1, 'line 1 is no key'],
    ['has a short key', `# keys\nk ${randomBytes(16).toString('base64')}`, 'line 2 is no key'],
    ['names a key twice', `k ${KEY_1}\nk ${KEY_2}`, 'line 2 names k again'],
  ])('that %s is refused, and not quoted', (_what, text, problem) => {
    expect(() => PayloadKeys.parse(text)).toThrow(problem);
    try {
      PayloadKeys.parse(text);
    } catch (error) {
      for (const key of [KEY_1, KEY_2]) expect(String(error)).not.toContain(key.slice(0, 12));
    }
  });
});

test('the bytes in it are those of Temporal’s own protobuf message', () => {
  const { Payload: Wire } = temporal.api.common.v1;
  const bytes = fc.uint8Array({ maxLength: 40 });
  const metadata = fc.dictionary(fc.string({ minLength: 1, maxLength: 10 }), bytes, {
    noNullPrototype: true,
  });
  fc.assert(
    fc.property(metadata, bytes, (about, data) => {
      const one = { metadata: about, data };
      expect(plain(Wire.decode(bytesOf(one)))).toEqual(plain(one));
      expect(plain(payloadOf(Wire.encode(one).finish()))).toEqual(plain(one));
    }),
    { examples: [[{ ['__proto__']: new Uint8Array() }, new Uint8Array()]] },
  );
});

function plain({ metadata, data }: Payload) {
  const hex = (value: Uint8Array) => Buffer.from(value).toString('hex');
  return {
    metadata: Object.entries(metadata ?? {}).map(([key, value]) => [key, hex(value)]),
    data: hex(data ?? new Uint8Array()),
  };
}
