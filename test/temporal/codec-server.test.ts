import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { defaultPayloadConverter, type Payload } from '@temporalio/common';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PayloadEncryption } from '../../src/temporal/payload-encryption.js';
import { PayloadKeys } from '../../src/temporal/payload-keys.js';
import { makeAuthority, tlsEnvironment } from '../support/certificates.js';
import { eventually } from '../support/eventually.js';
import { temporaryDirectory } from '../support/guard.js';
import { startProgram, type TestProcess } from '../support/processes.js';

const TOKEN = 'the-token-of-those-who-may-read';
const ORIGIN = 'http://127.0.0.1:8080';
const KEYS = [
  `2026-02 ${randomBytes(32).toString('base64')}`,
  `2026-01 ${randomBytes(32).toString('base64')}`,
];

let home: ReturnType<typeof temporaryDirectory>;
let server: TestProcess;
let url: string;
let env: Record<string, string>;

beforeAll(async () => {
  home = temporaryDirectory('codec-server');
  env = {
    STEWARD_PAYLOAD_KEYS_FILE: file('keys', `${KEYS[0]}\n`),
    STEWARD_TOKEN_FILE: file('token', `${TOKEN}\n`),
    STEWARD_CREDENTIALS_POLL_MS: '50',
    STEWARD_MAX_REQUEST_BYTES: '20000',
  };
  server = await start('codec-server', env);
  url = String(server.ready['url']);
});
afterAll(async () => {
  await server?.stop();
  await home.remove();
});

function file(name: string, content: string): string {
  const path = `${home.path}/${name}`;
  writeFileSync(path, content);
  return path;
}

function start(name: string, variables: Record<string, string>): Promise<TestProcess> {
  return startProgram({
    name,
    program: 'src/codec-server/main.ts',
    args: ['--listen=127.0.0.1:0', `--origin=${ORIGIN}`],
    env: variables,
    directory: home.path,
  });
}

interface Ask {
  readonly path?: string;
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string;
}

async function ask({ path = '/decode', method = 'POST', headers = {}, body }: Ask = {}) {
  const response = await fetch(`${url}${path}`, { method, headers, ...(body !== undefined && { body }) });
  return { status: response.status, headers: response.headers, text: await response.text() };
}

const authorized = { authorization: `Bearer ${TOKEN}` };

/** As the Web UI sends payloads. */
function json(payloads: readonly Payload[]): string {
  const base64 = (value: Uint8Array) => Buffer.from(value).toString('base64');
  return JSON.stringify({
    payloads: payloads.map(({ metadata, data }) => ({
      metadata: Object.fromEntries(
        Object.entries(metadata ?? {}).map(([key, value]) => [key, base64(value)]),
      ),
      data: base64(data!),
    })),
  });
}

function values(text: string): unknown[] {
  const { payloads } = JSON.parse(text) as { payloads: { metadata: { encoding: string }; data: string }[] };
  return payloads.map(({ metadata, data }) => {
    expect(Buffer.from(metadata.encoding, 'base64').toString()).toBe('json/plain');
    return JSON.parse(Buffer.from(data, 'base64').toString());
  });
}

async function encrypted(value: unknown, line = KEYS[0]!): Promise<Payload[]> {
  const keys = PayloadKeys.parse(line);
  return new PayloadEncryption(() => keys).encode([defaultPayloadConverter.toPayload(value)!]);
}

describe('who has the token', () => {
  test('reads encrypted payloads, and those that are not', async () => {
    const payloads = [...(await encrypted({ database: 'sales' })), defaultPayloadConverter.toPayload(7)!];
    // The Web UI adds a question of its own to the path.
    const { status, text } = await ask({
      path: '/decode?preserveStorageRefs=true',
      headers: { ...authorized, 'content-type': 'application/json', 'x-namespace': 'steward' },
      body: json(payloads),
    });
    expect(status).toBe(200);
    expect(values(text)).toEqual([{ database: 'sales' }, 7]);
  });

  test('has payloads encrypted, as the Web UI does before it starts something', async () => {
    const plain = json([defaultPayloadConverter.toPayload({ database: 'sales' })!]);
    const { status, text } = await ask({ path: '/encode', headers: authorized, body: plain });
    expect(status).toBe(200);
    expect(Buffer.from(text).includes(Buffer.from('sales').toString('base64').slice(0, 5))).toBe(false);
    const back = await ask({ headers: authorized, body: text });
    expect(values(back.text)).toEqual([{ database: 'sales' }]);
  });

  test('is told the key that is missing, and reads on when the file has it', async () => {
    const old = json(await encrypted('before', KEYS[1]));
    const missing = await ask({ headers: authorized, body: old });
    expect(missing.status).toBe(400);
    expect(missing.text).toContain('2026-01');
    file('keys', `${KEYS.join('\n')}\n`);
    const text = await eventually('it has the key', async () => {
      const answer = await ask({ headers: authorized, body: old });
      return answer.status === 200 && answer.text;
    });
    expect(values(text)).toEqual(['before']);
  });

  test.each([
    ['no JSON', 'x'],
    ['no payloads', '{}'],
    ['no base64', '{"payloads":[{"metadata":{},"data":"%"}]}'],
  ])('who sends %s is told what is expected', async (_what, body) => {
    const { status, text } = await ask({ headers: authorized, body });
    expect(status).toBe(400);
    expect(text).toContain('payloads');
  });

  test('sends no more than the limit', async () => {
    const { status } = await ask({ headers: authorized, body: ' '.repeat(20_001) });
    expect(status).toBe(413);
  });
});

describe('who has no token', () => {
  test.each([
    ['none', {}],
    ['another one', { authorization: 'Bearer another-token-that-is-long-enough' }],
    ['a wrong cookie', { cookie: 'steward-codec-token=another-token-that-is-long-enough' }],
    ['the token in another cookie', { cookie: `token=${TOKEN}` }],
  ])('%s: reads nothing', async (_what, headers) => {
    for (const path of ['/decode', '/encode']) {
      const { status, text } = await ask({
        path,
        headers,
        body: json(await encrypted({ database: 'sales' })),
      });
      expect(status).toBe(401);
      expect(text).not.toContain('sales');
    }
  });

  test('gives it once on the page, and is known by a cookie that no script reads', async () => {
    const page = await ask({ path: '/', method: 'GET' });
    expect(page).toMatchObject({ status: 200, text: expect.stringContaining('type="password"') });
    const form = { 'content-type': 'application/x-www-form-urlencoded' };
    const wrong = await ask({ path: '/', headers: form, body: 'token=another-token-that-is-long-enough' });
    expect(wrong.status).toBe(401);
    expect(wrong.headers.get('set-cookie')).toBeNull();
    const right = await ask({ path: '/', headers: { ...form, origin: url }, body: `token=${TOKEN}` });
    expect(right.status).toBe(200);
    const set = right.headers.get('set-cookie')!;
    expect(set).toMatch(/; HttpOnly; SameSite=Lax$/);
    const { status, text } = await ask({
      headers: { cookie: `theme=dark; ${set.split(';')[0]}`, origin: ORIGIN },
      body: json(await encrypted({ database: 'sales' })),
    });
    expect(status).toBe(200);
    expect(values(text)).toEqual([{ database: 'sales' }]);
  });
});

describe('pages of browsers', () => {
  const preflight = (origin: string) =>
    ask({
      method: 'OPTIONS',
      headers: {
        origin,
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'content-type,x-namespace',
      },
    });

  test('of the Web UI may ask with the cookie, and read the answer', async () => {
    const { status, headers } = await preflight(ORIGIN);
    expect(status).toBe(200);
    expect(headers.get('access-control-allow-origin')).toBe(ORIGIN);
    expect(headers.get('access-control-allow-credentials')).toBe('true');
    expect(headers.get('access-control-allow-headers')).toBe('content-type,x-namespace');
    const body = json(await encrypted(1));
    const answer = await ask({ headers: { ...authorized, origin: ORIGIN }, body });
    expect(answer.headers.get('access-control-allow-origin')).toBe(ORIGIN);
    expect(answer.headers.get('vary')).toBe('origin');
  });

  test.each([
    'http://127.0.0.1:8081',
    'https://127.0.0.1:8080',
    'http://127.0.0.1:8080.evil.example',
    'null',
  ])('of %s may not, whatever token they send', async (origin) => {
    const asked = await preflight(origin);
    expect(asked.status).toBe(403);
    const answer = await ask({
      headers: { ...authorized, origin },
      body: json(await encrypted({ database: 'sales' })),
    });
    expect(answer.status).toBe(403);
    expect(answer.text).not.toContain('sales');
    for (const { headers } of [asked, answer]) expect(headers.get('access-control-allow-origin')).toBeNull();
  });
});

test('anything else is not there', async () => {
  expect((await ask({ path: '/download', headers: authorized, body: '{}' })).status).toBe(404);
  expect((await ask({ method: 'GET', headers: authorized })).status).toBe(405);
});

test('over TLS the cookie is sent over TLS alone', async () => {
  const issued = await (await makeAuthority()).issue();
  const secure = await start('codec-server-tls', { ...env, ...tlsEnvironment(`${home.path}/tls`, issued) });
  try {
    const target = String(secure.ready['url']);
    expect(target).toMatch(/^https:/);
    const cookie = await new Promise((resolve, reject) => {
      const sent = request(`${target}/`, { method: 'POST', ca: issued.ca }, (response) => {
        resolve(response.headers['set-cookie']);
        response.resume();
      });
      sent.once('error', reject);
      sent.end(`token=${TOKEN}`);
    });
    expect(cookie).toEqual([expect.stringMatching(/; HttpOnly; Secure; SameSite=None$/)]);
  } finally {
    await secure.stop();
  }
});

test.each([
  ['without a token', { STEWARD_TOKEN_FILE: '' }, 'give it a token'],
  ['without keys', { STEWARD_PAYLOAD_KEYS_FILE: '' }, 'needs keys'],
  ['with keys that make no sense', { STEWARD_PAYLOAD_KEYS_FILE: '/dev/null' }, 'there is no key in it'],
])('it does not start %s, and says so', async (_what, variables, why) => {
  const name = `not-started-${why.replaceAll(' ', '-')}`;
  await expect(start(name, { ...env, ...variables })).rejects.toThrow();
  expect(readFileSync(`${home.path}/${name}.log`, 'utf8')).toContain(why);
});

test('neither token, keys nor payloads are in its log', () => {
  const log = readFileSync(server.logFile, 'utf8');
  expect(log).toContain('a caller was refused');
  for (const secret of [TOKEN, 'sales', ...KEYS.map((line) => line.split(' ')[1]!)])
    expect(log).not.toContain(secret);
});
