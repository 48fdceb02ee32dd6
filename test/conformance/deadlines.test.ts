import { createServer, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Check, group } from '../../src/conformance/check.js';
import { checkConformance } from '../../src/conformance/run.js';
import { rawCall, type Target } from '../../src/conformance/target.js';
import { readTransport } from '../../src/model/transport.js';
import { Credentials } from '../../src/rpc/credentials.js';
import { type NodeProcess, startNode } from '../node/node-process.js';

let node: NodeProcess;
let target: Target;
beforeAll(async () => {
  node = await startNode();
  target = { url: node.url, credentials: new Credentials(readTransport({})) };
});
afterAll(() => node.end());

const CHECKS: readonly Check[] = group('made-up', [], {
  'never-ends': { rule: 'a check that waits for what never comes', run: () => new Promise(() => undefined) },
  ends: { rule: 'a check beside it', run: async (probe) => void (await probe.info.getNodeInfo({})) },
});

test('a check that does not end has failed at its deadline, by name, and the others are told as ever', async () => {
  const { checks, summary } = await checkConformance({ target, checks: CHECKS, checkDeadlineMs: 2_000 });
  expect(summary).toMatchObject({ passed: 1, failed: 1 });
  expect(checks[0]).toMatchObject({
    name: 'made-up/never-ends',
    outcome: 'FAILED',
    failure: { expected: 'the check to end within 2 s', found: 'it goes on' },
  });
});

test('a call that is cut off without an error while its body is being sent comes to its end', async () => {
  const server = createServer();
  server.on('stream', (stream: ServerHttp2Stream) => {
    stream.on('error', () => undefined);
    stream.respond({ ':status': 413 }, { endStream: true });
    stream.close();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const answer = await rawCall(
    { ...target, url },
    { path: '/x', contentType: 'application/proto', body: Buffer.alloc(16 * 1024 * 1024) },
  );
  expect([0, 413]).toContain(answer.status);
  server.close();
});
