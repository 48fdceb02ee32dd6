import { spawnSync } from 'node:child_process';
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { Code, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { builtProgram } from '../../src/project.js';
import { NodeService } from '../../src/rpc/gen/steward/worker/v1/node_pb.js';
import { type Authority, makeAuthority, tlsEnvironment } from '../support/certificates.js';
import { eventually } from '../support/eventually.js';
import { temporaryDirectory } from '../support/guard.js';
import {
  askOnce,
  caller,
  errorOf,
  type NodeUnderTest,
  rawCall,
  rawSession,
  startNodeUnderTest,
} from './node-under-test.js';

const TOKEN = 'the-token-that-the-node-accepts';
const NEXT_TOKEN = 'the-token-that-comes-after-a-rotation';

let home: ReturnType<typeof temporaryDirectory>;
let authority: Authority;
let node: NodeUnderTest | undefined;

beforeAll(async () => {
  home = temporaryDirectory('trust');
  authority = await makeAuthority();
});
afterAll(() => home.remove());
afterEach(async () => {
  await node?.end();
  node = undefined;
});

let files = 0;
function file(content: string): string {
  files += 1;
  const path = `${home.path}/${files}`;
  writeFileSync(path, content);
  return path;
}

async function issued(options: Parameters<Authority['issue']>[0] = {}, by = authority) {
  files += 1;
  return tlsEnvironment(`${home.path}/${files}`, await by.issue(options));
}

describe('the certificate of a server', () => {
  test('is believed when it is of the CA, for this host, and of today', async () => {
    const env = await issued();
    node = await startNodeUnderTest(env);
    expect(node.url).toMatch(/^https:/);
    expect(await askOnce(node.url, { STEWARD_TLS_CA: env['STEWARD_TLS_CA'] })).toBe('node-1');
  });

  test.each([
    ['of another CA', {}, 'a CA that is not believed here'],
    [
      'for another host name',
      { hosts: ['node-7.example'] },
      'for another host name (ERR_TLS_CERT_ALTNAME_INVALID)',
    ],
    ['that has expired', { expired: true }, 'its certificate has expired (CERT_HAS_EXPIRED)'],
  ])('%s fails the call as UNAUTHENTICATED, with the cause in words', async (_which, options, cause) => {
    node = await startNodeUnderTest(await issued(options));
    const other = await makeAuthority('another CA');
    const ca = cause.includes('CA') ? other.cert : authority.cert;
    const error = await errorOf(askOnce(node.url, { STEWARD_TLS_CA: file(ca) }));
    expect(error.code).toBe(Code.Unauthenticated);
    expect(error.message).toContain(cause);
  });

  test('is not believed when only the system knows who is', async () => {
    node = await startNodeUnderTest(await issued());
    const error = await errorOf(askOnce(node.url));
    expect(error.code).toBe(Code.Unauthenticated);
    expect(error.message).toContain('STEWARD_TLS_CA must name its CA');
  });

  test('is missed by a client of https at a node in plain text, and the other way round', async () => {
    node = await startNodeUnderTest({});
    const secure = await errorOf(askOnce(node.url.replace('http:', 'https:')));
    expect(secure.code).toBe(Code.Unauthenticated);
    await node.end();
    node = await startNodeUnderTest(await issued());
    const plain = await errorOf(askOnce(node.url.replace('https:', 'http:')));
    expect(plain.code).toBe(Code.Unavailable);
    expect(plain.message).toContain('its URL must begin with https://');
  });
});

describe('a server that asks for certificates', () => {
  test('answers those of its CA, and tells others why not', async () => {
    const env = await issued();
    node = await startNodeUnderTest({ ...env, STEWARD_TLS_CLIENT_AUTH: 'require' });
    const ca = { STEWARD_TLS_CA: env['STEWARD_TLS_CA'] };
    expect(await askOnce(node.url, { ...(await issued()), ...ca })).toBe('node-1');
    const strangers = {
      'no certificate': ca,
      'one of another CA': { ...(await issued({}, await makeAuthority('another CA'))), ...ca },
      'an expired one': { ...(await issued({ expired: true })), ...ca },
    };
    for (const [who, stranger] of Object.entries(strangers)) {
      const error = await errorOf(askOnce(node.url, stranger));
      expect(error.code, who).toBe(Code.Unauthenticated);
      expect(error.message, who).toContain(
        'the caller showed no certificate, or one that is not believed here',
      );
    }
  });

  test('is not taken in by another CA of the same name', async () => {
    const env = await issued();
    node = await startNodeUnderTest({ ...env, STEWARD_TLS_CLIENT_AUTH: 'require' });
    const forged = await issued({}, await makeAuthority());
    await errorOf(askOnce(node.url, { ...forged, STEWARD_TLS_CA: env['STEWARD_TLS_CA'] }));
    expect(await askOnce(node.url, env)).toBe('node-1');
  });

  test.each([
    [['STEWARD_TLS_CERT'], 'belong together'],
    [['STEWARD_TLS_CERT', 'STEWARD_TLS_KEY'], 'STEWARD_TLS_CLIENT_AUTH=require needs'],
    [['STEWARD_TLS_CA'], 'STEWARD_TLS_CLIENT_AUTH=require needs'],
  ])('does not start without %s', async (missing, why) => {
    const env = { ...(await issued()), STEWARD_TLS_CLIENT_AUTH: 'require' };
    for (const name of missing) delete (env as Record<string, string>)[name];
    const { status, stderr } = runNode([], env);
    expect(status).toBe(2);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
    expect(stderr).toContain(why);
  });
});

describe('a token', () => {
  test('lets the caller in; without one, and with any other, the answer is the same', async () => {
    node = await startNodeUnderTest({ STEWARD_TOKEN_FILE: file(`# since May\n\n${TOKEN}\n`) });
    expect(await askOnce(node.url, { STEWARD_TOKEN_FILE: file(TOKEN) })).toBe('node-1');
    const session = rawSession(node.url);
    const answers = new Set<string>();
    for (const authorization of [
      undefined,
      '',
      'Bearer',
      `Bearer ${TOKEN}x`,
      `Bearer ${TOKEN.slice(0, -1)}`,
      `Basic ${TOKEN}`,
      'Bearer # since May',
      TOKEN,
    ]) {
      for (const path of [undefined, '/steward.worker.v1.NodeService/Nothing', '/']) {
        const { answer } = rawCall(session, authorization === undefined ? {} : { authorization }, path);
        const { status, body } = await answer;
        answers.add(`${status} ${body}`);
      }
    }
    session.destroy();
    expect([...answers]).toEqual([expect.stringMatching(/^401 \{"code":"unauthenticated"/)]);
  });

  test('is asked for before anything of the body is read', async () => {
    node = await startNodeUnderTest({ STEWARD_TOKEN_FILE: file(TOKEN) });
    const session = rawSession(node.url);
    // The body never comes.
    expect(await rawCall(session, { 'content-length': '1000000' }).answer).toMatchObject({ status: 401 });
    session.destroy();
  });

  test('is asked of gRPC callers in their own words', async () => {
    node = await startNodeUnderTest({ STEWARD_TOKEN_FILE: file(TOKEN) });
    const transport = createGrpcTransport({ baseUrl: node.url });
    const error = await errorOf(createClient(NodeService, transport).getNodeInfo({}));
    expect(error.code).toBe(Code.Unauthenticated);
    expect(error.rawMessage).toContain('the call has no token, or one that is not accepted here');
  });

  test.each([
    ['too short', 'short', 'line 1 is no token'],
    ['of other characters', `${TOKEN}\nwith spaces in the middle of it`, 'line 2 is no token'],
    ['missing', '# none\n', 'there is no token in it'],
  ])('that is %s keeps a node from starting, and is not quoted', (_how, content, why) => {
    const { status, stderr } = runNode([], { STEWARD_TOKEN_FILE: file(content) });
    expect(status).toBe(2);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
    expect(stderr).toContain(why);
    expect(stderr).not.toContain(content.split('\n').at(-1) || 'none');
  });

  test('given instead of a file name is not quoted either', () => {
    const { status, stderr } = runNode(['--token-file', TOKEN]);
    expect(status).toBe(2);
    expect(stderr).toContain('STEWARD_TOKEN_FILE');
    expect(stderr).not.toContain(TOKEN);
  });
});

describe('while the node runs', () => {
  test('a new token counts, and the old one does not, on connections that are open', async () => {
    const tokens = file(`${TOKEN}\n`);
    node = await startNodeUnderTest({ STEWARD_TOKEN_FILE: tokens });
    const old = caller(node.url, { STEWARD_TOKEN_FILE: file(TOKEN) });
    const next = caller(node.url, { STEWARD_TOKEN_FILE: file(NEXT_TOKEN) });
    try {
      expect(await old.whoAreYou()).toBe('node-1');
      expect((await errorOf(next.whoAreYou())).code).toBe(Code.Unauthenticated);
      writeFileSync(tokens, `${TOKEN}\n${NEXT_TOKEN}\n`);
      await eventually('both are let in', async () => (await next.whoAreYou()) === 'node-1');
      expect(await old.whoAreYou()).toBe('node-1');
      writeFileSync(tokens, `${NEXT_TOKEN}\n`);
      await eventually('the old one is let in no more', () => errorOf(old.whoAreYou()));
      expect(await next.whoAreYou()).toBe('node-1');
    } finally {
      old.close();
      next.close();
    }
  });

  test('a client sends the new token of its own file with its next call', async () => {
    node = await startNodeUnderTest({ STEWARD_TOKEN_FILE: file(NEXT_TOKEN) });
    const own = file(TOKEN);
    const client = caller(node.url, { STEWARD_TOKEN_FILE: own });
    try {
      expect((await errorOf(client.whoAreYou())).code).toBe(Code.Unauthenticated);
      writeFileSync(own, NEXT_TOKEN);
      await eventually('it is let in', async () => (await client.whoAreYou()) === 'node-1');
    } finally {
      client.close();
    }
  });

  test('a new certificate and a new CA count, also for connections that are open', async () => {
    const env = await issued();
    node = await startNodeUnderTest({ ...env, STEWARD_TLS_CLIENT_AUTH: 'require' });
    const before = caller(node.url, env);
    const successor = await makeAuthority('next CA');
    const { STEWARD_TLS_CERT: cert, STEWARD_TLS_KEY: key, STEWARD_TLS_CA: ca } = await issued({}, successor);
    // It has what is to come, and believes both.
    const both = file(`${authority.cert}${successor.cert}`);
    const after = caller(node.url, { STEWARD_TLS_CERT: cert, STEWARD_TLS_KEY: key, STEWARD_TLS_CA: both });
    // It does not change: the node must end its connection, so that it is held to the new CA.
    const stale = caller(node.url, { ...(await issued()), STEWARD_TLS_CA: both });
    try {
      expect(await before.whoAreYou()).toBe('node-1');
      expect(await stale.whoAreYou()).toBe('node-1');
      expect((await errorOf(after.whoAreYou())).code).toBe(Code.Unauthenticated);
      for (const [to, from] of [
        ['STEWARD_TLS_CERT', cert],
        ['STEWARD_TLS_KEY', key],
        ['STEWARD_TLS_CA', ca],
      ] as const) {
        writeFileSync(env[to]!, readFileSync(from!));
      }
      await eventually('the new one is let in', async () => (await after.whoAreYou()) === 'node-1');
      // The first reads the very files that were changed, the client's own.
      await eventually('the first is let in', async () => (await before.whoAreYou()) === 'node-1');
      const error = await errorOf(stale.whoAreYou());
      expect(error.message).toContain('the caller showed no certificate, or one that is not believed here');
    } finally {
      for (const one of [before, after, stale]) one.close();
    }
  });

  test('what is half written or wrong keeps the old one in use, with one WARN each', async () => {
    const tokens = file(TOKEN);
    const env: Record<string, string> = { ...(await issued()), STEWARD_TOKEN_FILE: tokens };
    node = await startNodeUnderTest(env);
    const log = (): string => node?.log() ?? '';
    const client = { STEWARD_TLS_CA: file(authority.cert), STEWARD_TOKEN_FILE: file(TOKEN) };
    const { STEWARD_TLS_KEY: otherKey } = await issued();
    const good = Object.fromEntries(Object.values(env).map((path) => [path, readFileSync(path, 'utf8')]));
    const bad: readonly [string, string, string][] = [
      [tokens, '', 'there is no token in it'],
      [tokens, TOKEN.slice(0, 5), 'line 1 is no token'],
      [
        env['STEWARD_TLS_KEY']!,
        good[env['STEWARD_TLS_KEY']!]!.slice(0, 80),
        'STEWARD_TLS_KEY: expected a whole',
      ],
      [env['STEWARD_TLS_KEY']!, readFileSync(otherKey!, 'utf8'), 'is not the key of STEWARD_TLS_CERT'],
      [
        env['STEWARD_TLS_CERT']!,
        good[env['STEWARD_TLS_CERT']!]!.slice(0, 300),
        'STEWARD_TLS_CERT: expected whole',
      ],
      [
        env['STEWARD_TLS_CA']!,
        `${authority.cert}${authority.cert.slice(0, 300)}`,
        'STEWARD_TLS_CA: expected whole',
      ],
    ];
    for (const [path, content, problem] of bad) {
      writeFileSync(path, content);
      await eventually(`the node warns: ${problem}`, () => log().includes(problem));
      expect(await askOnce(node.url, client)).toBe('node-1');
      writeFileSync(path, good[path]!);
    }
    const warnings = log()
      .split('\n')
      .filter((line) => line.includes('the old ones stay in use'));
    expect(warnings).toHaveLength(bad.length);
    expect(warnings.every((line) => line.includes('"level":40'))).toBe(true);
    expect(log()).not.toContain('changed and are in use');
    appendFileSync(tokens, `\n${NEXT_TOKEN}\n`);
    await eventually('a good change is taken after all', () => log().includes('"tokens":2'));
    for (const secret of [TOKEN, NEXT_TOKEN, ...keyLines(good[env['STEWARD_TLS_KEY']!]!)]) {
      expect(log()).not.toContain(secret);
    }
  });
});

describe('plain text', () => {
  test.each([
    ['src/node/main.ts', '0.0.0.0:0'],
    ['src/node/main.ts', '[::]:0'],
    ['src/node/main.ts', 'node-1.example:0'],
    ['src/coordinator/main.ts', '0.0.0.0:0'],
  ])('%s does not serve it at %s, and says what would help', (program, listen) => {
    const { status, stdout, stderr } = run(program, [`--listen=${listen}`], {
      DATABASE_URL: 'postgres://nobody@127.0.0.1:1/none',
    });
    expect(status).toBe(2);
    expect(stdout).toBe('');
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
    expect(stderr).toContain('refusing to serve plain text');
    expect(stderr).toContain('--allow-plain-text');
  });

  test('is served beyond loopback when that is said, or with a certificate in TLS', async () => {
    node = await startNodeUnderTest({}, '--listen=0.0.0.0:0', '--allow-plain-text');
    expect(await askOnce(node.url.replace('0.0.0.0', '127.0.0.1'))).toBe('node-1');
    await node.end();
    const env = await issued();
    node = await startNodeUnderTest(env, '--listen=0.0.0.0:0');
    expect(await askOnce(node.url.replace('0.0.0.0', '127.0.0.1'), env)).toBe('node-1');
  });

  test('carries no token to another machine, unless that is allowed', async () => {
    let connections = 0;
    const listener = createServer((socket) => {
      connections += 1;
      socket.destroy();
    });
    await new Promise<void>((resolve) => listener.listen(0, '0.0.0.0', resolve));
    const address = listener.address();
    const port = typeof address === 'object' ? address?.port : undefined;
    // Not a loopback address by its looks, although it leads here.
    const url = `http://0.0.0.0:${port}`;
    try {
      for (const env of [{ STEWARD_TOKEN_FILE: file(TOKEN) }, { STEWARD_TLS_CA: file(authority.cert) }]) {
        const error = await errorOf(askOnce(url, env));
        expect(error.code).toBe(Code.Unauthenticated);
        expect(error.message).toContain('refusing to speak plain text');
      }
      expect(connections).toBe(0);
      await errorOf(askOnce(url, { STEWARD_TOKEN_FILE: file(TOKEN), STEWARD_ALLOW_PLAIN_TEXT: 'true' }));
      expect(connections).toBe(1);
    } finally {
      listener.close();
    }
  });
});

function keyLines(pem: string): string[] {
  return pem.split('\n').filter((line) => line !== '' && !line.startsWith('-----'));
}

function runNode(flags: readonly string[], env: Record<string, string> = {}) {
  return run('src/node/main.ts', flags, env);
}

/** Runs a program that is expected to refuse to start; a node gets an id and a data directory. */
function run(program: string, flags: readonly string[], env: Record<string, string>) {
  const own = program.includes('node') ? ['--id', 'node-1', '--data', `${home.path}/refused`] : [];
  return spawnSync(process.execPath, [builtProgram(program), ...own, ...flags], {
    env: { PATH: process.env['PATH'], ...env },
    encoding: 'utf8',
    timeout: 20_000,
  });
}
