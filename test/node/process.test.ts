import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { createClient } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport } from '@connectrpc/connect-node';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { builtProgram } from '../../src/project.js';
import { OperationService } from '../../src/rpc/gen/steward/worker/v1/operation_pb.js';
import { temporaryDirectory } from '../support/guard.js';
import { type NodeProcess, startNode } from './node-process.js';
import { creation, ended, say } from './region-operations.js';

interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the program until it ends by itself; stdin is closed after the first line on stdout. */
async function run(...args: string[]): Promise<Finished> {
  const child = spawn(process.execPath, [builtProgram('src/node/main.ts'), ...args], { stdio: 'pipe' });
  try {
    child.stdout.once('data', () => child.stdin.end());
    const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
    return { code: child.exitCode, stdout, stderr };
  } finally {
    child.kill('SIGKILL');
  }
}

let home: ReturnType<typeof temporaryDirectory>;
beforeEach(() => {
  home = temporaryDirectory('process');
});
afterEach(() => home.remove());

describe('the command line', () => {
  test.each([
    ['--id', ['--data', 'd']],
    ['--id', ['--id', 'Node 1', '--data', 'd']],
    ['--data', ['--id', 'n']],
    ['--listen', ['--id', 'n', '--data', 'd', '--listen', 'here']],
    ['--listen', ['--id', 'n', '--data', 'd', '--listen', '127.0.0.1:70000']],
    ['--regions', ['--id', 'n', '--data', 'd', '--regions', 'tape']],
    ['--coordinator', ['--id', 'n', '--data', 'd', '--coordinator', 'somewhere']],
    ['--max-pending', ['--id', 'n', '--data', 'd', '--max-pending', '0']],
    ['--files-per-region', ['--id', 'n', '--data', 'd', '--files-per-region', '-1']],
    ['--colour', ['--id', 'n', '--data', 'd', '--colour', 'red']],
    ['extra', ['--id', 'n', '--data', 'd', 'extra']],
  ])('a bad %s is one clear line and exit code 2 (%j)', async (flag, args) => {
    const { code, stdout, stderr } = await run(...args);
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
    expect(stderr).toContain(flag);
  });

  test('a node that serves says so in one line on stdout, and ends with its parent', async () => {
    const { code, stdout } = await run('--id', 'node-1', '--data', home.path, '--exit-with-parent');
    expect(stdout.trimEnd().split('\n')).toHaveLength(1);
    const ready = JSON.parse(stdout);
    expect(ready).toEqual({
      ready: true,
      nodeId: 'node-1',
      ledgerId: expect.stringMatching(/^[0-9a-f-]{36}$/),
      url: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/),
    });
    expect(code).toBe(0);
  });
});

describe('one data directory', () => {
  let node: NodeProcess;
  beforeEach(async () => {
    node = await startNode({ data: home.path });
  });
  afterEach(() => node.end());

  test('serves one process at a time, and the next one at once after a SIGKILL', async () => {
    const second = await run('--id', 'node-1', '--data', home.path, '--exit-with-parent');
    expect(second.code).toBe(1);
    expect(second.stdout).toBe('');
    expect(second.stderr).toContain(`${home.path} is in use by process ${node.process.pid}`);
    const { ledgerId } = node;
    await node.kill();
    await node.restart();
    expect(node.ledgerId).toBe(ledgerId);
  });

  test('of two that start at once, one wins', async () => {
    await node.kill();
    const starts = await Promise.allSettled(Array.from({ length: 4 }, () => startNode({ data: home.path })));
    const winners = starts.flatMap((start) => (start.status === 'fulfilled' ? [start.value] : []));
    try {
      expect(winners).toHaveLength(1);
    } finally {
      for (const winner of winners) await winner.end();
    }
  });

  test.each([
    ['another id', ['--id', 'node-2']],
    ['another kind of regions', ['--id', 'node-1', '--regions', 'ledger']],
  ])('is not taken over by a node of %s', async (_what, args) => {
    await node.kill();
    const other = await run('--data', home.path, '--exit-with-parent', ...args);
    expect(other.code).toBe(1);
    expect(other.stderr).toContain('belongs to a node with --id node-1 --regions disk');
  });
});

test('gRPC, Connect with protobuf and Connect with JSON are answered on the same port', async () => {
  const node = await startNode();
  try {
    const baseUrl = node.url;
    const transports = [
      createGrpcTransport({ baseUrl }),
      createConnectTransport({ baseUrl, httpVersion: '2' }),
      createConnectTransport({ baseUrl, httpVersion: '2', useBinaryFormat: false }),
    ];
    for (const [index, transport] of transports.entries()) {
      const operations = [creation(index + 1)];
      const { statuses } = await createClient(OperationService, transport).submit({
        node: node.ref,
        operations,
      });
      expect(['PROCESSING', 'SUCCESS']).toContain(say(statuses[0]!));
      expect(await ended(node, operations[0]!)).toBe('SUCCESS');
    }
  } finally {
    await node.end();
  }
});
