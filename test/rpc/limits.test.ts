import { writeFileSync } from 'node:fs';
import type { ClientHttp2Session, ClientHttp2Stream } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import { Code, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { afterEach, describe, expect, test } from 'vitest';
import { InventoryService } from '../../src/rpc/gen/steward/worker/v1/inventory_pb.js';
import { eventually } from '../support/eventually.js';
import { temporaryDirectory } from '../support/guard.js';
import {
  type Caller,
  caller,
  errorOf,
  type NodeUnderTest,
  rawCall,
  rawSession,
  startNodeUnderTest,
} from './node-under-test.js';

const TOKEN = 'the-token-of-honest-callers';
const LIST_REGIONS = '/steward.worker.v1.InventoryService/ListRegions';
/** So long that a test which waits for it fails. */
const NEVER_MS = '3600000';

let node: NodeUnderTest;
let honest: Caller;
const cleanUps: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

/** A node with these limits, all others far away, and an honest caller that has not called yet. */
async function start(limits: Record<string, string>, withToken = false): Promise<void> {
  const home = temporaryDirectory('limits');
  cleanUps.push(() => home.remove());
  const token = withToken ? { STEWARD_TOKEN_FILE: `${home.path}/token` } : {};
  if (withToken) writeFileSync(`${home.path}/token`, TOKEN);
  node = await startNodeUnderTest({
    STEWARD_HEADER_TIMEOUT_MS: NEVER_MS,
    STEWARD_BODY_TIMEOUT_MS: NEVER_MS,
    STEWARD_CALL_TIMEOUT_MS: NEVER_MS,
    STEWARD_IDLE_TIMEOUT_MS: NEVER_MS,
    ...limits,
    ...token,
  });
  cleanUps.push(() => node.end());
  honest = caller(node.url, token);
  cleanUps.push(() => honest.close());
}

/** A bare TCP connection that sends this; `closed` resolves when the node hangs up. */
function intruder(...sent: readonly (string | Buffer)[]): {
  socket: Socket;
  closed: Promise<void>;
  open: () => boolean;
} {
  const { hostname, port } = new URL(node.url);
  const socket = connect(Number(port), hostname);
  socket.on('error', () => {});
  socket.resume();
  for (const bytes of sent) socket.write(bytes);
  cleanUps.push(() => socket.destroy());
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  return { socket, closed, open: () => !socket.destroyed };
}

function session(options?: Parameters<typeof rawSession>[1]): ClientHttp2Session {
  const made = rawSession(node.url, options);
  cleanUps.push(() => made.destroy());
  return made;
}

/** Resolves when the node has seen the call: what is sent on one connection is read in order. */
function reached(stream: ClientHttp2Stream): Promise<void> {
  return new Promise((resolve, reject) => {
    const ask = () => stream.session?.ping((error) => (error === null ? resolve() : reject(error)));
    if (stream.pending) stream.once('ready', ask);
    else ask();
  });
}

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
const SETTINGS = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);
/** The first 3 of 100 bytes of the headers of stream 1, which END_HEADERS never follows. */
const HALF_HEADERS = Buffer.from([0, 0, 100, 1, 0, 0, 0, 0, 1, 0x82, 0x86, 0x84]);

describe('a body', () => {
  test('that is too big is refused, however it is sent, and the next call is answered', async () => {
    await start({ STEWARD_MAX_REQUEST_BYTES: '2000' });
    const big = Buffer.from(JSON.stringify({ junk: 'x'.repeat(100_000) }));
    const ways: Record<string, readonly [Record<string, string>, Buffer]> = {
      plain: [{}, big],
      'with its length': [{ 'content-length': String(big.length) }, big],
      // Small on the wire: what counts is what it becomes.
      packed: [{ 'content-encoding': 'gzip' }, gzipSync(big)],
    };
    for (const [way, [headers, body]] of Object.entries(ways)) {
      const { stream, answer } = rawCall(session(), headers);
      stream.end(body);
      const { status, body: told } = await answer;
      expect(status, way).toBe(429);
      expect(JSON.parse(told), way).toMatchObject({ code: 'resource_exhausted' });
    }
    expect(gzipSync(big).length).toBeLessThan(2_000);
    expect(await honest.whoAreYou()).toBe('node-1');
  });

  test('that never ends costs the node no more than the limit', async () => {
    await start({ STEWARD_MAX_REQUEST_BYTES: '2000' });
    const { stream, answer } = rawCall(session());
    const chunk = Buffer.alloc(16_384, 'x');
    let sent = 0;
    const pour = (): void => {
      while (!stream.destroyed && !stream.closed) {
        sent += chunk.length;
        if (!stream.write(chunk)) break;
      }
    };
    stream.on('drain', pour);
    pour();
    expect(await answer).toMatchObject({ status: 429 });
    expect(sent).toBeLessThan(5 << 20);
    expect(await honest.whoAreYou()).toBe('node-1');
  });

  test('that is too big is refused to gRPC callers in their own words', async () => {
    await start({ STEWARD_MAX_REQUEST_BYTES: '2000' });
    const transport = createGrpcTransport({ baseUrl: node.url });
    const regions = createClient(InventoryService, transport);
    const error = await errorOf(regions.listRegions({ pageToken: 'x'.repeat(200_000) }));
    expect(error.code).toBe(Code.ResourceExhausted);
    expect(await honest.whoAreYou()).toBe('node-1');
  });

  test('that nobody read counts no longer than its answer takes', async () => {
    await start({ STEWARD_MAX_REQUEST_BYTES: '2000', STEWARD_MAX_CALLS: '3' });
    for (let call = 0; call < 10; call += 1) {
      const { stream, answer } = rawCall(session());
      stream.write(Buffer.alloc(100_000, 'x'));
      expect(JSON.parse((await answer).body).message).toContain('larger than');
    }
    expect(await honest.whoAreYou()).toBe('node-1');
  });

  test('that comes too slowly is cut, while others are answered', async () => {
    await start({ STEWARD_BODY_TIMEOUT_MS: '400' });
    const { stream, answer } = rawCall(session());
    const drip = setInterval(() => stream.write(' '), 20);
    cleanUps.push(() => clearInterval(drip));
    expect(await honest.whoAreYou()).toBe('node-1');
    expect(await answer).toMatchObject({ status: undefined, reset: 11 /* ENHANCE_YOUR_CALM */ });
    expect(node.log()).toContain('its body did not come in time');
  });
});

describe('headers', () => {
  test.each([
    ['nothing at all', []],
    ['half of a greeting', [PREFACE.slice(0, 10)]],
    ['a greeting and no call', [PREFACE, SETTINGS]],
    ['half of the headers of a call', [PREFACE, SETTINGS, HALF_HEADERS]],
    ['another protocol', ['GET / HTTP/1.1\r\n\r\n']],
  ])('a connection that sends %s is cut', async (_what, sent) => {
    await start({ STEWARD_HEADER_TIMEOUT_MS: '300' });
    await intruder(...sent).closed;
    expect(await honest.whoAreYou()).toBe('node-1');
  });

  test('that come one byte at a time are cut as well', async () => {
    await start({ STEWARD_HEADER_TIMEOUT_MS: '300' });
    const { socket, closed } = intruder(PREFACE, SETTINGS, HALF_HEADERS);
    const drip = setInterval(() => socket.write('\0'), 20);
    cleanUps.push(() => clearInterval(drip));
    await closed;
    expect(await honest.whoAreYou()).toBe('node-1');
  });

  test('that are too big are refused', async () => {
    await start({});
    const wordy = session();
    // Until the limit is told and acknowledged, that of HTTP/2 itself counts.
    await rawCall(wordy, {}, '/').answer;
    const { stream, answer } = rawCall(wordy, { junk: 'x'.repeat(40_000) });
    stream.end('{}');
    const { status, reset } = await answer;
    expect(status === 431 || reset !== 0).toBe(true);
    expect(await honest.whoAreYou()).toBe('node-1');
  });
});

describe('connections', () => {
  test('are never more than the limit, and a newcomer is let in all the same', async () => {
    await start({ STEWARD_MAX_CONNECTIONS: '5' });
    const intruders = Array.from({ length: 40 }, () => intruder(PREFACE, SETTINGS));
    await eventually('the surplus is closed', () => intruders.filter(({ open }) => open()).length <= 5);
    expect(await honest.whoAreYou()).toBe('node-1');
    await eventually(
      'one gave way to the honest caller',
      () => intruders.filter(({ open }) => open()).length === 4,
    );
    expect(node.log()).toContain('made room');
  });

  test('of strangers give way first: who has been let in stays connected', async () => {
    await start({ STEWARD_MAX_CONNECTIONS: '5' }, true);
    const known = session();
    const first = rawCall(known, { authorization: `Bearer ${TOKEN}` });
    first.stream.end('{}');
    expect(await first.answer).toMatchObject({ status: 200 });
    // Strangers that did make a call count as strangers.
    const refused = session();
    expect(await rawCall(refused).answer).toMatchObject({ status: 401 });
    const intruders = Array.from({ length: 40 }, () => intruder(PREFACE, SETTINGS));
    await eventually('the surplus is closed', () => intruders.filter(({ open }) => open()).length === 4);
    await eventually('the refused one is closed', () => refused.closed);
    const again = rawCall(known, { authorization: `Bearer ${TOKEN}` });
    again.stream.end('{}');
    expect(await again.answer).toMatchObject({ status: 200 });
    expect(known.closed).toBe(false);
  });

  test('that all have calls under way keep newcomers out until the slow calls are cut', async () => {
    await start({ STEWARD_MAX_CONNECTIONS: '3', STEWARD_BODY_TIMEOUT_MS: '1500' });
    const slow = Array.from({ length: 3 }, () => rawCall(session()));
    await Promise.all(slow.map(({ stream }) => reached(stream)));
    await errorOf(honest.whoAreYou());
    await eventually('the honest caller is let in', async () => (await honest.whoAreYou()) === 'node-1');
    expect((await Promise.all(slow.map(({ answer }) => answer))).map(({ reset }) => reset)).toEqual([
      11, 11, 11,
    ]);
  });

  test('that idle for very long are closed, and the caller connects again', async () => {
    await start({ STEWARD_IDLE_TIMEOUT_MS: '200' });
    const idle = session();
    const { stream, answer } = rawCall(idle);
    stream.end('{}');
    expect(await answer).toMatchObject({ status: 200 });
    expect(await honest.whoAreYou()).toBe('node-1');
    await eventually('it is closed', () => idle.closed);
    await eventually('the caller is answered', async () => (await honest.whoAreYou()) === 'node-1');
  });
});

describe('calls', () => {
  test('whose body is slow give way when there are too many', async () => {
    await start({ STEWARD_MAX_CALLS: '4' });
    const slow = Array.from({ length: 4 }, () => rawCall(session()));
    await Promise.all(slow.map(({ stream }) => reached(stream)));
    await eventually('an honest caller is answered', async () => (await honest.whoAreYou()) === 'node-1');
    expect(await Promise.race(slow.map(({ answer }) => answer))).toMatchObject({ reset: 11 });
    expect(slow.filter(({ stream }) => !stream.closed)).toHaveLength(3);
  });

  test('beyond the limit are told to come again, when those under way are honest', async () => {
    await start({ STEWARD_MAX_CALLS: '2' });
    await honest.delayLists(3_600_000);
    // One that meets the end of another call is refused, and made again; nothing else is asked at that time.
    const busy = new Set<ReturnType<typeof rawCall>>();
    const error = await eventually('the node is full', async () => {
      if (busy.size < 2) {
        const call = rawCall(session(), {}, LIST_REGIONS);
        busy.add(call);
        void call.answer.then(
          () => busy.delete(call),
          () => busy.delete(call),
        );
        call.stream.end('{}');
        return undefined;
      }
      const refused = await errorOf(honest.whoAreYou());
      return refused.code === Code.ResourceExhausted ? refused : undefined;
    });
    expect(error.message).toContain('too many calls');
    for (const { stream } of busy) stream.close();
    await eventually('there is room again', async () => (await honest.whoAreYou()) === 'node-1');
  });

  test('of one connection beyond its limit wait for the others', async () => {
    await start({ STEWARD_MAX_STREAMS: '101' });
    const one = session();
    await eventually('the limit is told', () => one.remoteSettings?.maxConcurrentStreams === 101);
    const answers = await Promise.all(Array.from({ length: 400 }, () => honest.whoAreYou()));
    expect(new Set(answers)).toEqual(new Set(['node-1']));
  });

  test('whose answer is not taken are cut', async () => {
    await start({ STEWARD_CALL_TIMEOUT_MS: '400' });
    const { stream, answer } = rawCall(session({ settings: { initialWindowSize: 0 } }));
    stream.end('{}');
    expect(await answer).toMatchObject({ body: '', reset: 11 });
    expect(node.log()).toContain('its answer was not taken in time');
    expect(await honest.whoAreYou()).toBe('node-1');
  });

  test('that are opened and taken back in a stream of thousands end the connection', async () => {
    await start({});
    const rapid = session();
    await eventually('it is connected', () => !rapid.connecting);
    for (let round = 0; round < 200 && !rapid.closed && !rapid.destroyed; round += 1) {
      for (let call = 0; call < 50 && !rapid.closed && !rapid.destroyed; call += 1) {
        const { stream } = rawCall(rapid);
        stream.close(8 /* CANCEL */);
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await honest.whoAreYou()).toBe('node-1');
    await eventually('the node ended it', () => rapid.closed || rapid.destroyed);
  });
});

test('strangers fill neither the log nor the memory of the node: one warning of each kind', async () => {
  await start({}, true);
  const stranger = session();
  for (let call = 0; call < 100; call += 1) expect((await rawCall(stranger).answer).status).toBe(401);
  expect(node.log().split('a call was refused').length - 1).toBe(1);
});
